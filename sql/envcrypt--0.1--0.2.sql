-- envcrypt 0.1 to 0.2: keys can be exported and imported, and a cluster checked.
\echo Use "ALTER EXTENSION envcrypt UPDATE" to load this file. \quit

CREATE FUNCTION envcrypt.export_keyring(key text DEFAULT NULL) RETURNS json
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_export_keyring';
CREATE FUNCTION envcrypt.import_keyring(keyring json) RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_import_keyring';
REVOKE ALL ON FUNCTION envcrypt.export_keyring(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.import_keyring(json) FROM PUBLIC;
COMMENT ON FUNCTION envcrypt.export_keyring(text) IS 'A key, or all of them, as one JSON document: labels, versions, commitments and wraps, no secrets and no grants. With the root keys it opens values without this database. Needs manage on what is exported.';
COMMENT ON FUNCTION envcrypt.import_keyring(json) IS 'Adds the keys, versions and wraps of an export that are not here yet, changes none that are, and returns how many rows it added. Superusers only. 55000 when a version is here with another commitment, 42710 when a key is here with another algorithm or label.';

-- ===========================================================================
-- check(): what is wrong here, why it matters, and what puts it right.
--
-- One function for each area gives its findings; check() joins them.  They are
-- functions with bodies in strings, not views: a view over catalogs that the
-- next PostgreSQL has changed would stop pg_upgrade.
--
-- check() is SECURITY DEFINER, because those who monitor are to see findings
-- about key tables, settings and files that they may not read themselves.  It
-- takes no argument, writes nothing, runs nothing of anybody else's, and looks
-- up every name in pg_catalog alone.  The functions it calls are nobody's but
-- the extension owner's.
-- ===========================================================================

CREATE FUNCTION envcrypt.key_file_status(OUT path text, OUT problem text, OUT message text, OUT changed_at text)
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'envcrypt_key_file_status';
CREATE FUNCTION envcrypt.wrap_problems(kvids bytea[], root_keys text[]) RETURNS text[]
	LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'envcrypt_wrap_problems';
CREATE FUNCTION envcrypt.may_be_random(type oid, typmod integer) RETURNS boolean
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'envcrypt_may_be_random';
CREATE FUNCTION envcrypt.note_copy(what text, place text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_note_copy';

-- What is said of no key but of all is for those who see all keys.
CREATE OR REPLACE VIEW envcrypt.audit WITH (security_barrier) AS
	SELECT a.at, a.actor, a.session_actor, a.action, a.key, a.detail
	FROM envcrypt.audit_log a
	WHERE envcrypt.has_key_privilege(a.key, 'manage')
		OR (a.key OPERATOR(pg_catalog.=) '' AND pg_catalog.pg_has_role('pg_monitor', 'USAGE'));

-- The key file, and whether every wrap opens with it.
CREATE FUNCTION envcrypt.check_key_file(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH file AS MATERIALIZED (
	SELECT path, problem, message, '''' || replace(path, '''', '''\''''') || '''' AS quoted
	FROM envcrypt.key_file_status()
), wrap AS MATERIALIZED (
	SELECT array_agg(w.kvid ORDER BY w.kvid, w.root_key) AS kvids, array_agg(w.root_key::text ORDER BY w.kvid, w.root_key) AS roots
	FROM envcrypt.key_wrap w JOIN envcrypt.key_version v ON v.kvid = w.kvid
	WHERE v.state <> 'destroyed' AND (SELECT problem IS NULL FROM file)
), version AS (
	SELECT v.key, v.number, count(*) = count(t.problem) AS lost,
		string_agg(format('%s: %s', t.root_key, t.problem), '; ' ORDER BY t.root_key COLLATE "C")
			FILTER (WHERE t.problem IS NOT NULL) AS problems
	FROM wrap w, unnest(w.kvids, w.roots, envcrypt.wrap_problems(w.kvids, w.roots)) t (kvid, root_key, problem),
		envcrypt.key_version v
	WHERE v.kvid = t.kvid
	GROUP BY v.key, v.number HAVING count(t.problem) > 0
)
SELECT 'key_file', CASE WHEN used THEN 'critical' ELSE 'warning' END, path, message,
	CASE WHEN used THEN 'The server does not take root keys from it: sessions cannot open or seal anything.'
		ELSE 'No key can be made.' END,
	CASE WHEN problem = 'missing' AND used THEN format('As the user the server runs as: install -m 0600 PATH_OF_ITS_COPY %s', quoted)
		WHEN problem = 'missing' THEN format('As the user the server runs as: envcrypt keygen %s', quoted)
		WHEN message ~ 'use chmod 600$' THEN format('chmod 600 %s', quoted)
		WHEN message ~ 'use chmod 640$' THEN format('chmod 640 %s', quoted)
		WHEN message ~ '^directory /.* can be written by others' THEN
			format('chmod go-w ''%s''', replace(substring(message FROM '^directory (/.*) can be written by others'), '''', '''\'''''))
		WHEN message ~ 'is inside the data directory' THEN
			format('install -D -m 0600 %s /etc/envcrypt/root-keys.json, owned by the server''s user; ALTER SYSTEM SET envcrypt.local_key_file = ''/etc/envcrypt/root-keys.json''; SELECT pg_reload_conf(); then remove %s', quoted, quoted)
		WHEN problem = 'damaged' THEN format('As the user the server runs as: install -m 0600 PATH_OF_ITS_COPY %s', quoted)
		ELSE format('Put right what is said; this says whether it is: envcrypt keygen %s --verify (as the user the server runs as)', quoted) END
FROM file, (SELECT EXISTS (SELECT FROM envcrypt.key_wrap) AS used) u
WHERE problem IS NOT NULL
UNION ALL
SELECT 'key_file', CASE WHEN lost THEN 'critical' ELSE 'warning' END, format('version %s of key %s', number, key), problems,
	CASE WHEN lost THEN 'No wrap of it opens: what it sealed cannot be read here.' ELSE 'It opens by its other wraps only.' END,
	format('As the user the server runs as: install -m 0600 PATH_OF_THE_RIGHT_COPY %s', quoted)
FROM version, file
$body$;

-- Copies of what opens the values, as far as somebody told of them.
CREATE FUNCTION envcrypt.check_backup(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH copied AS (
	SELECT to_char(max(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
	FROM envcrypt.audit_log WHERE action = 'key_file_copied'
), version AS (
	SELECT v.key, max(v.created_at) AS made_at,
		(SELECT max(a.at) FROM envcrypt.audit_log a
		 WHERE a.action IN ('export_keyring', 'export_copied')
			AND (a.key = v.key OR NOT EXISTS (SELECT FROM envcrypt.key k WHERE k.name = a.key))) AS exported_at
	FROM envcrypt.key_version v WHERE v.state <> 'destroyed' GROUP BY v.key
)
SELECT 'backup', 'warning', f.path,
	CASE WHEN c.at IS NULL THEN 'no copy of the key file is on record'
		ELSE format('the key file has root keys of %s, its last copy on record is of %s', f.changed_at, c.at) END,
	'When the key file is lost, so is every value: no superuser and no backup of the database brings them back.',
	format('Copy %s to where the backups are not, check the copy with: envcrypt keygen COPY --verify, then: SELECT envcrypt.note_copy(''key_file'', ''where it is'');', f.path)
FROM envcrypt.key_file_status() f, copied c
WHERE f.problem IS NULL AND (c.at IS NULL OR c.at < f.changed_at)
	AND EXISTS (SELECT FROM envcrypt.key_wrap WHERE root_key LIKE 'local:%')
UNION ALL
SELECT 'backup', 'warning', 'key ' || key,
	CASE WHEN exported_at IS NULL THEN 'was never exported'
		ELSE format('its newest version was made after its last export, of %s', exported_at::timestamptz(0)) END,
	'An export and the key file open values that were found without their key tables: in a CSV file, a replica, a damaged cluster.',
	'psql -XAtc ''SELECT envcrypt.export_keyring()'' > envcrypt-keyring.json, and keep the file; one that was made on a standby: SELECT envcrypt.note_copy(''export'', ''where it is'');'
FROM version
WHERE exported_at IS NULL OR exported_at < made_at
$body$;

CREATE FUNCTION envcrypt.check_keys(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH version AS (
	SELECT v.key, v.number, v.state, (SELECT count(*) FROM envcrypt.key_wrap w WHERE w.kvid = v.kvid) AS wraps
	FROM envcrypt.key_version v WHERE v.state <> 'destroyed'
)
SELECT 'keys', 'critical', format('version %s of key %s', number, key), 'has no wrap',
	'Its secret is nowhere in this database: what it sealed cannot be read here.',
	'Bring its wraps from an export or a dump: SELECT envcrypt.import_keyring(EXPORT);'
FROM version WHERE wraps = 0
UNION ALL
SELECT 'keys', 'notice', 'key ' || key, format('%s of its versions open by one root key only', count(*)),
	'When that root key is lost, so are they.',
	'As the user the server runs as: envcrypt keygen --add --name second; for keys to come: ALTER SYSTEM SET envcrypt.default_root_keys = ''local:default'', ''local:second''; SELECT pg_reload_conf(); this one stands and falls with the copies of the key file'
FROM version WHERE wraps = 1 GROUP BY key
UNION ALL
SELECT 'keys', 'notice', 'key ' || k.name, 'is disabled', 'Nothing is sealed or opened with it.',
	format('SELECT envcrypt.enable_key(%L);', k.name)
FROM envcrypt.key k WHERE NOT k.enabled
$body$;

-- A grant counts while a role has both its name and its OID.
CREATE FUNCTION envcrypt.check_grants(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH grants AS (
	SELECT g.key, g.grantee, g.privileges, named.oid IS NOT NULL AS named, holder.rolname AS holder,
		holder.oid = named.oid AS active
	FROM envcrypt.key_grant g
	LEFT JOIN pg_roles named ON named.rolname = g.grantee
	LEFT JOIN pg_roles holder ON holder.oid = g.grantee_oid
	WHERE g.grantee_oid <> 0
), inert AS (
	SELECT g.*, (SELECT a.privileges FROM grants a WHERE a.key = g.key AND a.grantee = g.grantee AND a.active) AS now
	FROM grants g WHERE g.active IS NOT TRUE
)
SELECT 'grants', CASE WHEN now IS NULL AND (named OR holder IS NOT NULL) THEN 'warning' ELSE 'notice' END,
	format('grant of %s on key %s to %s', array_to_string(privileges, ', '), key, quote_ident(grantee)),
	CASE WHEN now IS NOT NULL THEN 'is inert, beside one that is in force'
		WHEN named THEN 'is inert: this role was made anew, or the grant comes from another cluster'
		WHEN holder IS NOT NULL THEN format('is inert: the role is called %s now', quote_ident(holder))
		ELSE 'is inert: there is no such role' END,
	CASE WHEN now IS NOT NULL OR (NOT named AND holder IS NULL) THEN 'It gives nothing; whoever reads the list of grants is misled.'
		ELSE 'The role does not have what it was given; give it again if it is to have it.' END,
	format('SELECT envcrypt.revoke_key(%L, %L);', key, grantee) ||
	CASE WHEN now IS NOT NULL THEN format(' SELECT envcrypt.grant_key(%L, %L, %L);', key, grantee, now)
		WHEN named THEN format(' SELECT envcrypt.grant_key(%L, %L, %L); (or only the first, if it is not to have it)', key, grantee, privileges)
		WHEN holder IS NOT NULL THEN format(' SELECT envcrypt.grant_key(%L, %L, %L); (or only the first, if it is not to have it)', key, holder, privileges)
		ELSE '' END
FROM inert
UNION ALL
SELECT 'grants', 'warning', format('grant of %s on key %s to public', array_to_string(privileges, ', '), key),
	'is everybody''s', 'Every role that can connect to this database has it, those made later too.',
	format('SELECT envcrypt.grant_key(%L, ROLE, %L); for the roles that need it, then: SELECT envcrypt.revoke_key(%L, ''public'');', key, privileges, key)
FROM envcrypt.key_grant WHERE grantee_oid = 0
$body$;

-- What keeps the key tables: triggers, event triggers, their place in dumps.
CREATE FUNCTION envcrypt.check_guards(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH tab AS (
	SELECT oid, relname, format('envcrypt.%I', relname) AS name
	FROM pg_class WHERE relnamespace = 'envcrypt'::regnamespace AND relkind = 'r'
), trig AS (
	SELECT t.name AS tab, quote_ident(coalesce(g.tgname, n.name)) AS name, n.made, g.tgenabled
	FROM tab t CROSS JOIN (VALUES
		('guard_row', 'BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW', 1),
		('guard_truncate', 'BEFORE TRUNCATE ON %s FOR EACH STATEMENT', 0)) n (name, made, level)
	LEFT JOIN pg_trigger g ON g.tgrelid = t.oid AND g.tgtype & 1 = n.level
		AND g.tgfoid = 'envcrypt.key_table_guard()'::regprocedure
	WHERE g.tgenabled IS DISTINCT FROM 'A'
), event AS (
	SELECT n.*, e.evtenabled
	FROM (VALUES
		('envcrypt_guard_drop', 'ON ddl_command_start WHEN TAG IN (''DROP EXTENSION'', ''DROP SCHEMA'', ''DROP OWNED'', ''DROP TABLE'', ''DROP TRIGGER'', ''ALTER EXTENSION'', ''ALTER TABLE'') EXECUTE FUNCTION envcrypt.guard_drop()',
			'critical', 'DROP EXTENSION in a session that has not used envcrypt would drop all keys, and with them every value.'),
		('envcrypt_guard_ddl', 'ON ddl_command_end WHEN TAG IN (''CREATE TABLE'', ''ALTER TABLE'', ''CREATE INDEX'', ''CREATE SCHEMA'') EXECUTE FUNCTION envcrypt.guard_ddl()',
			'warning', 'Uniqueness over randomized values is not refused, and the triggers of the key tables are not kept ALWAYS.')
	) n (name, made, severity, why)
	LEFT JOIN pg_event_trigger e ON e.evtname = n.name
	WHERE e.evtenabled IS DISTINCT FROM 'A'
)
SELECT 'guards', 'critical', format('trigger %s of %s', name, tab), coalesce('is not ENABLE ALWAYS' || left(tgenabled::text, 0), 'is missing'),
	'Rows of keys can be changed or deleted, and sessions do not learn of changes to keys.',
	CASE WHEN tgenabled IS NULL THEN format('CREATE TRIGGER %s ' || made || ' EXECUTE FUNCTION envcrypt.key_table_guard(); ', name, tab) ELSE '' END ||
	format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %s;', tab, name)
FROM trig
UNION ALL
SELECT 'guards', severity, 'event trigger ' || name, coalesce('is not ENABLE ALWAYS' || left(evtenabled::text, 0), 'is missing'), why,
	CASE WHEN evtenabled IS NULL THEN format('CREATE EVENT TRIGGER %s %s; ALTER EXTENSION envcrypt ADD EVENT TRIGGER %s; ', name, made, name) ELSE '' END ||
	format('ALTER EVENT TRIGGER %s ENABLE ALWAYS;', name)
FROM event
UNION ALL
SELECT 'guards', 'critical', 'table ' || t.name, 'its rows are not in dumps',
	'A dump without them opens nothing.',
	CASE WHEN d.objid IS NULL THEN format('ALTER EXTENSION envcrypt ADD TABLE %s; ', t.name) ELSE '' END ||
	format('UPDATE pg_catalog.pg_extension SET extconfig = coalesce(extconfig, ''{}'') || %L::pg_catalog.regclass::pg_catalog.oid, extcondition = coalesce(extcondition, ''{}'') || ''''::text WHERE extname = ''envcrypt''; (once, as a superuser)', t.name)
FROM tab t JOIN pg_extension x ON x.extname = 'envcrypt'
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = t.oid AND d.deptype = 'e'
	AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
WHERE d.objid IS NULL OR NOT t.oid = ANY (coalesce(x.extconfig, '{}'))
$body$;

-- Settings as new sessions get them, and as roles and databases set them.
CREATE FUNCTION envcrypt.check_settings(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH rule (name, bad, safe, severity, logs, why) AS (VALUES
	('log_statement', '^(mod|all)$', 'none', 'warning', 'statements', 'Statements go to the server log with the literals in them, and with their parameters.'),
	('log_statement', '^ddl$', 'none', 'notice', '', 'DDL goes to the server log with the literals in it.'),
	('log_min_duration_statement', '^[0-9]', '-1', 'warning', 'statements', 'Slow statements go to the server log with the literals in them, and with their parameters.'),
	('log_min_duration_sample', '^[0-9]', '-1', 'warning', 'statements', 'Slow statements go to the server log, some of them, with literals and parameters.'),
	('log_transaction_sample_rate', '[1-9]', '0', 'warning', 'statements', 'Statements of some transactions go to the server log with literals and parameters.'),
	('log_parameter_max_length', '^-|[1-9]', '0', 'warning', 'parameters', 'Statements that are logged show the values of their parameters.'),
	('log_parameter_max_length_on_error', '^-|[1-9]', '0', 'warning', '', 'A statement that fails shows the values of its parameters.'),
	('debug_print_parse', '^(on|t|y|1)', 'off', 'warning', '', 'Parse trees go to the server log with the literals in them.'),
	('debug_print_rewritten', '^(on|t|y|1)', 'off', 'warning', '', 'Parse trees go to the server log with the literals in them.'),
	('debug_print_plan', '^(on|t|y|1)', 'off', 'warning', '', 'Plans go to the server log with the literals in them.'),
	('auto_explain.log_min_duration', '^[0-9]', '-1', 'warning', 'plans', 'Slow statements and their plans go to the server log with the literals in them.'),
	('auto_explain.log_parameter_max_length', '^-|[1-9]', '0', 'warning', 'plan parameters', 'Plans that are logged show the values of parameters.'),
	('pgaudit.log', '^(?!none$).', 'none', 'warning', 'audit', 'Audited statements go to the server log with the literals in them.'),
	('pgaudit.log_parameter', '^(on|t|y|1)', 'off', 'warning', 'audit parameters', 'Audited statements show the values of their parameters.'),
	('envcrypt.allow_destroy', '^(on|t|y|1)', 'off', 'warning', '', 'DROP EXTENSION and the like destroy every key, and nothing asks.'),
	('envcrypt.allow_maintenance_decrypt', '^(on|t|y|1)', 'off', 'warning', '', 'Indexes, statistics and materialized views can store opened values.')
), place AS (
	SELECT s.name, s.reset_val AS value, '' AS place, format('ALTER SYSTEM SET %s = ', s.name) AS mend, true AS everywhere
	FROM pg_settings s WHERE s.source NOT IN ('global', 'database', 'user', 'database user')
	UNION ALL
	SELECT split_part(c.c, '=', 1), substring(c.c FROM '=(.*)'),
		concat(' of role ' || quote_ident(r.rolname), ' in database ' || quote_ident(d.datname)),
		CASE WHEN r.oid IS NULL THEN format('ALTER DATABASE %I RESET ', d.datname)
			ELSE format('ALTER ROLE %I %sRESET ', r.rolname, 'IN DATABASE ' || quote_ident(d.datname) || ' ') END, false
	FROM pg_db_role_setting x CROSS JOIN unnest(x.setconfig) c (c)
	LEFT JOIN pg_roles r ON r.oid = x.setrole
	LEFT JOIN pg_database d ON d.oid = x.setdatabase
	WHERE x.setdatabase = 0 OR d.datname = current_database()
), found AS (
	SELECT r.*, p.value, p.place, p.everywhere,
		CASE WHEN p.everywhere THEN format('%s%L; SELECT pg_reload_conf();', p.mend, r.safe) ELSE p.mend || r.name || ';' END AS fix
	FROM rule r JOIN place p ON p.name = r.name AND p.value ~* r.bad
)
SELECT 'logging', severity, name || place, format('is %s', value), why, fix
FROM found f
WHERE name NOT LIKE 'envcrypt.%' AND (logs NOT LIKE '%parameters' OR EXISTS (
	SELECT FROM found g WHERE g.logs = CASE f.logs WHEN 'parameters' THEN 'statements' WHEN 'plan parameters' THEN 'plans' ELSE 'audit' END))
UNION ALL
SELECT 'guards', severity, name || place, format('is %s', value), why, fix
FROM found WHERE name LIKE 'envcrypt.%'
$body$;

-- Where secrets in memory can go.  The texts are those of Linux; elsewhere
-- they are NULL and nothing is said.
CREATE FUNCTION envcrypt.check_memory(limits text, swaps text, preload text,
		OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH lib AS (
	SELECT array_remove(ARRAY(SELECT btrim(l, ' "') FROM string_to_table(preload, ',') l), '') AS libs
), swap AS (
	SELECT split_part(line, ' ', 1) AS device
	FROM string_to_table(regexp_replace(swaps, '[ \t]+', ' ', 'g'), E'\n') WITH ORDINALITY s (line, n)
	WHERE n > 1 AND line <> ''
)
SELECT 'memory', 'warning', 'core dumps', format('are enabled, up to %s bytes', l[1]),
	'A process that crashes writes its memory to a file, with the keys and opened values in it.',
	'systemctl edit postgresql@: LimitCORE=0 under [Service] (or ulimit -c 0 where the server is started), then restart the server'
FROM regexp_match(limits, 'Max core file size +(\S+)') l WHERE l[1] <> '0'
UNION ALL
SELECT 'memory', 'notice', 'locked memory', format('is limited to %s bytes', l[1]),
	'Keys that are held in shared memory are locked into it, in the releases that do so; below 1 MB there is no room to.',
	'systemctl edit postgresql@: LimitMEMLOCK=8M under [Service] (or ulimit -l 8192 where the server is started), then restart the server'
FROM regexp_match(limits, 'Max locked memory +([0-9]+) ') l WHERE l[1]::numeric < 1048576
UNION ALL
SELECT 'memory', 'warning', 'swap ' || device, 'is in use and not seen to be encrypted',
	'Memory that is swapped out, keys and opened values among it, stays on the disk.',
	format('swapoff %s and its line in /etc/fstab removed; or encrypt it with dm-crypt', device)
FROM swap
WHERE device !~ '^/dev/zram' AND NOT (device ~ '^/dev/dm-[0-9]+$' AND coalesce(
	pg_read_file('/sys/class/block/' || substring(device FROM 6) || '/dm/uuid', 0, 6, true) = 'CRYPT-', false))
UNION ALL
SELECT 'memory', 'notice', 'shared_preload_libraries', 'does not have envcrypt',
	'Each session loads the library at its first use, and guards against dropping keys rest on the event triggers alone.',
	format('ALTER SYSTEM SET shared_preload_libraries = %s; then restart the server',
		array_to_string(ARRAY(SELECT quote_literal(l) FROM unnest(libs || 'envcrypt'::text) l), ', '))
FROM lib WHERE NOT libs && '{envcrypt,$libdir/envcrypt}'
$body$;

-- Uniqueness over randomized values, made while the guard was not there.
CREATE FUNCTION envcrypt.check_columns(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH kinds AS (
	-- each index that says rows differ, and the columns it says it of
	SELECT x.indrelid AS tab, x.indexrelid AS obj, a.attrelid, a.attnum,
		CASE WHEN x.indisexclusion THEN 'exclusion constraint' WHEN x.indisprimary THEN 'primary key' ELSE 'unique index' END AS kind
	FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid AND NOT i.relispartition
	CROSS JOIN generate_series(0, x.indnkeyatts - 1) n
	JOIN LATERAL (
		SELECT x.indrelid, x.indkey[n] WHERE x.indkey[n] > 0
		UNION SELECT x.indexrelid, n + 1 WHERE x.indkey[n] = 0
		UNION SELECT x.indrelid, m[1]::integer
			FROM pg_opclass o, regexp_matches(x.indexprs::text, ':varattno ([1-9][0-9]*)', 'g') m
			WHERE x.indkey[n] = 0 AND o.oid = x.indclass[n] AND o.opcintype IN ('bytea'::regtype, 'text'::regtype)
	) a (attrelid, attnum) ON true
	WHERE (x.indisunique OR x.indisexclusion) AND x.indisvalid AND x.indexrelid >= 16384
	UNION
	SELECT c.conrelid, c.oid, s.rel, k.attnum, 'foreign key'
	FROM pg_constraint c CROSS JOIN LATERAL (VALUES (c.conrelid, c.conkey), (c.confrelid, c.confkey)) s (rel, cols),
		unnest(s.cols) k (attnum)
	WHERE c.contype = 'f' AND c.conparentid = 0
	UNION
	SELECT p.partrelid, p.partrelid, p.partrelid, a.attnum, 'partition key'
	FROM pg_partitioned_table p, LATERAL (
		SELECT unnest(p.partattrs::int2[])
		UNION SELECT m[1]::integer FROM regexp_matches(p.partexprs::text, ':varattno ([1-9][0-9]*)', 'g') m
			WHERE EXISTS (SELECT FROM generate_series(0, p.partnatts - 1) n JOIN pg_opclass o ON o.oid = p.partclass[n]
				WHERE p.partattrs[n] = 0 AND o.opcintype IN ('bytea'::regtype, 'text'::regtype, 'envcrypt.enc_bytea'::regtype))
	) a (attnum) WHERE a.attnum > 0
), found AS (
	SELECT k.tab, k.obj, k.kind, string_agg(DISTINCT quote_ident(a.attname), ', ') AS cols,
		string_agg(DISTINCT format('ALTER TABLE %s ALTER COLUMN %I TYPE envcrypt.enc_bytea(deterministic);', a.attrelid::regclass, a.attname), ' ')
			FILTER (WHERE a.atttypid = 'envcrypt.enc_bytea'::regtype AND r.relkind IN ('r', 'p')) AS narrow
	FROM kinds k JOIN pg_attribute a ON a.attrelid = k.attrelid AND a.attnum = k.attnum
	JOIN pg_class r ON r.oid = k.attrelid
	WHERE a.atttypid >= 16384 AND envcrypt.may_be_random(a.atttypid, a.atttypmod)
	GROUP BY k.tab, k.obj, k.kind
)
SELECT 'columns', 'warning', format('%s of table %s', concat_ws(' ', kind, quote_ident(coalesce(c.conname, i.relname))), tab::regclass),
	format('stands on values that may be randomized: %s', cols),
	CASE kind WHEN 'foreign key' THEN 'A value sealed twice is two different values: a reference to it is never found.'
		WHEN 'partition key' THEN 'A value sealed twice is two different values: it goes to any partition.'
		ELSE 'A value sealed twice is two different values: duplicates get in.' END,
	CASE WHEN kind = 'partition key' THEN format('CREATE TABLE .. (LIKE %s) PARTITION BY another column, and move the rows there', tab::regclass)
		ELSE coalesce(narrow || ' (where that is refused, because values are randomized, instead:) ', '') ||
			CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s;', obj::regclass)
				ELSE format('ALTER TABLE %s DROP CONSTRAINT %I;', tab::regclass, c.conname) END END
FROM found f
LEFT JOIN pg_constraint c ON CASE f.kind WHEN 'foreign key' THEN c.oid = f.obj ELSE c.conindid = f.obj AND c.contype IN ('p', 'u', 'x') END
LEFT JOIN pg_class i ON i.oid = f.obj AND f.kind NOT IN ('foreign key', 'partition key')
$body$;

-- What stores opened values, or would, as far as the catalogs tell: objects
-- made of decrypt functions, by way of views and functions too.  Functions
-- whose body is a string are looked into for their names.
CREATE FUNCTION envcrypt.check_stored(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
WITH RECURSIVE opens (class, obj) AS (
	SELECT 'pg_proc'::regclass::oid, p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE CASE WHEN p.pronamespace = 'envcrypt'::regnamespace
			THEN p.proname IN ('decrypt', 'decrypt_bytea', 'decrypt_as', 'try_decrypt')
			ELSE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal')
				AND p.prosrc ~ '\m(decrypt|decrypt_bytea|decrypt_as|try_decrypt)\s*\(' END
	UNION
	SELECT CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass END, coalesce(r.ev_class, d.objid)
	FROM opens o JOIN pg_depend d ON d.refclassid = o.class AND d.refobjid = o.obj
		AND d.classid IN ('pg_proc'::regclass, 'pg_rewrite'::regclass)
	LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
	WHERE r.oid IS NULL OR EXISTS (SELECT FROM pg_class v WHERE v.oid = r.ev_class AND v.relkind IN ('v', 'm'))
), made AS (
	SELECT DISTINCT d.classid, d.objid, d.objsubid
	FROM opens o JOIN pg_depend d ON d.refclassid = o.class AND d.refobjid = o.obj AND o.class = 'pg_proc'::regclass
), found (object, what, stores, fix) AS (
	SELECT 'materialized view ' || c.oid::regclass, 'is made of opened values', true,
		format('DROP MATERIALIZED VIEW %s; (CREATE VIEW stores nothing)', c.oid::regclass)
	FROM opens o JOIN pg_class c ON c.oid = o.obj AND o.class = 'pg_class'::regclass AND c.relkind = 'm'
	UNION ALL
	SELECT 'index ' || c.oid::regclass, 'is on opened values', true, format('DROP INDEX %s;', c.oid::regclass)
	FROM made m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
		AND c.relkind IN ('i', 'I') AND NOT c.relispartition
	UNION ALL
	SELECT format('statistics %s of table %s', quote_ident(s.stxname), s.stxrelid::regclass), 'are on opened values', true,
		format('DROP STATISTICS %s.%I;', s.stxnamespace::regnamespace, s.stxname)
	FROM made m JOIN pg_statistic_ext s ON m.classid = 'pg_statistic_ext'::regclass AND s.oid = m.objid
	UNION ALL
	SELECT DISTINCT format('column %s of table %s', quote_ident(a.attname), a.attrelid::regclass), 'is generated from opened values', true,
		format('ALTER TABLE %s DROP COLUMN %I;', a.attrelid::regclass, a.attname)
	FROM made m LEFT JOIN pg_attrdef d ON m.classid = 'pg_attrdef'::regclass AND d.oid = m.objid
	JOIN pg_attribute a ON a.attgenerated = 's'
		AND CASE WHEN d.oid IS NOT NULL THEN (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
			ELSE m.classid = 'pg_class'::regclass AND (a.attrelid, a.attnum) = (m.objid, m.objsubid) END
	UNION ALL
	SELECT format('constraint %s of table %s', quote_ident(c.conname), c.conrelid::regclass), 'opens values', false,
		format('ALTER TABLE %s DROP CONSTRAINT %I;', c.conrelid::regclass, c.conname)
	FROM made m JOIN pg_constraint c ON m.classid = 'pg_constraint'::regclass AND c.oid = m.objid AND c.conrelid <> 0
)
SELECT 'columns', 'warning', object, what,
	CASE WHEN stores THEN 'It keeps plaintext on disk, and in dumps, backups and replicas.'
		ELSE 'A restore fails that loads the table before the keys, or where the key file is not.' END, fix
FROM found
$body$;

CREATE FUNCTION envcrypt.check_publications(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
SELECT 'publications', 'notice', 'publication ' || quote_ident(p.pubname),
	format('carries %s', string_agg('envcrypt.' || quote_ident(t.tablename), ', ' ORDER BY t.tablename)),
	'Its subscribers get names, grants and wraps of keys; a key made on both sides stops the subscription.',
	CASE WHEN p.puballtables THEN 'Make keys on this side only (docs/operations.md, Logical replication); or DROP PUBLICATION and CREATE PUBLICATION .. FOR TABLE with the tables by name'
		WHEN EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = p.oid AND n.pnnspid = 'envcrypt'::regnamespace)
			THEN format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA envcrypt;', p.pubname)
		ELSE format('ALTER PUBLICATION %I DROP TABLE %s;', p.pubname,
			string_agg('envcrypt.' || quote_ident(t.tablename), ', ' ORDER BY t.tablename)) END
FROM pg_publication p JOIN pg_publication_tables t ON t.pubname = p.pubname
WHERE t.schemaname = 'envcrypt'
GROUP BY p.oid, p.pubname, p.puballtables
$body$;

-- Roles that reach files as the server does, and a name that misleads.
CREATE FUNCTION envcrypt.check_roles(OUT area text, OUT severity text, OUT object text, OUT what text, OUT why text, OUT fix text)
	RETURNS SETOF record LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
SELECT 'roles', 'warning', 'role ' || quote_ident(m.rolname), 'is a member of ' || n.name, n.why,
	format('REVOKE %s FROM %I;', n.name, m.rolname)
FROM (VALUES
	('pg_read_server_files', 'It can read the key file, which the server can read.'),
	('pg_write_server_files', 'It can overwrite the key file, and with it lose every value.'),
	('pg_execute_server_program', 'It can do what the server''s user can: read the key file, and the memory of sessions.')) n (name, why)
JOIN pg_roles g ON g.rolname = n.name
JOIN pg_auth_members a ON a.roleid = g.oid
JOIN pg_roles m ON m.oid = a.member AND NOT m.rolsuper
GROUP BY m.rolname, n.name, n.why
UNION ALL
SELECT 'roles', 'warning', 'role envcrypt', 'has the name of the schema',
	'"$user" in its search_path is the extension''s schema: what it creates without a schema it would create there, and names mean something else to it than to others.',
	'ALTER ROLE envcrypt RENAME TO envcrypt_user;'
FROM pg_roles WHERE rolname = 'envcrypt'
$body$;

CREATE FUNCTION envcrypt.check()
	RETURNS TABLE (area text, severity text, object text, what text, why text, fix text)
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $body$
SELECT f.area, f.severity, f.object, f.what, f.why, f.fix
FROM (
	SELECT * FROM envcrypt.check_key_file()
	UNION ALL SELECT * FROM envcrypt.check_backup()
	UNION ALL SELECT * FROM envcrypt.check_keys()
	UNION ALL SELECT * FROM envcrypt.check_grants()
	UNION ALL SELECT * FROM envcrypt.check_guards()
	UNION ALL SELECT * FROM envcrypt.check_settings()
	UNION ALL SELECT * FROM envcrypt.check_memory(pg_read_file('/proc/self/limits', 0, 65536, true), pg_read_file('/proc/swaps', 0, 65536, true),
		current_setting('shared_preload_libraries'))
	UNION ALL SELECT * FROM envcrypt.check_columns()
	UNION ALL SELECT * FROM envcrypt.check_stored()
	UNION ALL SELECT * FROM envcrypt.check_publications()
	UNION ALL SELECT * FROM envcrypt.check_roles()) f
ORDER BY array_position('{critical,warning,notice}', f.severity), f.area COLLATE "C", f.object COLLATE "C", f.what COLLATE "C"
$body$;

REVOKE ALL ON FUNCTION envcrypt.key_file_status(), envcrypt.wrap_problems(bytea[], text[]), envcrypt.may_be_random(oid, integer),
	envcrypt.note_copy(text, text), envcrypt.check_key_file(), envcrypt.check_backup(), envcrypt.check_keys(),
	envcrypt.check_grants(), envcrypt.check_guards(), envcrypt.check_settings(), envcrypt.check_memory(text, text, text),
	envcrypt.check_columns(), envcrypt.check_stored(), envcrypt.check_publications(), envcrypt.check_roles(),
	envcrypt.check() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION envcrypt.check() TO pg_monitor;

COMMENT ON FUNCTION envcrypt.check() IS 'What is wrong with keys, their copies, guards, settings and columns: one row a finding, none when all is well. severity is critical, warning or notice. For members of pg_monitor.';
COMMENT ON FUNCTION envcrypt.note_copy(text, text) IS 'Puts on record that the key file (key_file) or an export (export) was copied, and where to; check() asks for it.';
COMMENT ON FUNCTION envcrypt.key_file_status() IS 'The key file: its path, what keeps the server from using it, when its newest root key was made.';
COMMENT ON FUNCTION envcrypt.wrap_problems(bytea[], text[]) IS 'Of each wrap, named by kvid and root key, why it does not open with the key file, or NULL.';
COMMENT ON FUNCTION envcrypt.may_be_random(oid, integer) IS 'Whether values of a type with its modifier may be randomized envelopes.';
COMMENT ON FUNCTION envcrypt.check_key_file() IS 'Findings about the key file and the wraps it opens.';
COMMENT ON FUNCTION envcrypt.check_backup() IS 'Findings about copies of the key file and exports of keys.';
COMMENT ON FUNCTION envcrypt.check_keys() IS 'Findings about keys and their versions.';
COMMENT ON FUNCTION envcrypt.check_grants() IS 'Findings about grants on keys.';
COMMENT ON FUNCTION envcrypt.check_guards() IS 'Findings about what keeps the key tables.';
COMMENT ON FUNCTION envcrypt.check_settings() IS 'Findings about settings.';
COMMENT ON FUNCTION envcrypt.check_memory(text, text, text) IS 'Findings about memory, of the texts of /proc/self/limits and /proc/swaps and the setting shared_preload_libraries.';
COMMENT ON FUNCTION envcrypt.check_columns() IS 'Findings about uniqueness over randomized values.';
COMMENT ON FUNCTION envcrypt.check_stored() IS 'Findings about what stores opened values.';
COMMENT ON FUNCTION envcrypt.check_publications() IS 'Findings about publications that carry the key tables.';
COMMENT ON FUNCTION envcrypt.check_roles() IS 'Findings about roles.';
