-- envcrypt 0.1: the catalog, the type enc_bytea, and the functions over them.
-- Names are qualified throughout; every function is C.
\echo Use "CREATE EXTENSION envcrypt" to load this file. \quit

-- A member like the rest: it goes with the extension, and one that somebody
-- made beforehand is refused.
CREATE SCHEMA envcrypt;
COMMENT ON SCHEMA envcrypt IS 'Column encryption: the type enc_bytea, encrypt() and decrypt(), and their keys.';
GRANT USAGE ON SCHEMA envcrypt TO PUBLIC;

-- ---------------------------------------------------------------------------
-- Catalog.  Dumped with the database; a dump never holds a secret, only wraps.
-- No row is inserted here, no column holds a reg* type and no sequence is
-- used: a restore must accept every row as it stands.  No column has a default:
-- each costs a session's first call a look into the catalog.
-- ---------------------------------------------------------------------------

CREATE TABLE envcrypt.key (
	name		text COLLATE "C" PRIMARY KEY
		CHECK (name OPERATOR(pg_catalog.~) '^[A-Za-z0-9_.:@/-]{1,128}$'),
	label		text COLLATE "C" NOT NULL
		CHECK (label OPERATOR(pg_catalog.~) '^[A-Za-z0-9_.:@/-]{1,128}$'),
	algorithm	text COLLATE "C" NOT NULL,
	root_keys	text[] NOT NULL,
	enabled		boolean NOT NULL,
	created_by	text NOT NULL,
	created_at	timestamptz NOT NULL
);
COMMENT ON TABLE envcrypt.key IS 'Keys: a name, an algorithm, the root keys that wrap its versions. Rows are never deleted.';

CREATE TABLE envcrypt.key_version (
	kvid		bytea PRIMARY KEY CHECK (pg_catalog.octet_length(kvid) OPERATOR(pg_catalog.=) 8
					AND kvid OPERATOR(pg_catalog.<>) ALL (ARRAY['\x0000000000000000', '\xffffffffffffffff']::bytea[])),
	key			text COLLATE "C" NOT NULL,
	number		integer NOT NULL CHECK (number OPERATOR(pg_catalog.>) 0),
	state		text COLLATE "C" NOT NULL CHECK (state OPERATOR(pg_catalog.=) ANY (ARRAY['pending', 'primary',
					'decrypt_only', 'disabled', 'destroy_scheduled', 'destroyed'])),
	compromised	boolean NOT NULL,
	algorithm	text COLLATE "C" NOT NULL,
	commitment	bytea NOT NULL CHECK (pg_catalog.octet_length(commitment) OPERATOR(pg_catalog.=) 32),
	options		jsonb NOT NULL,
	origin		bytea,
	created_at	timestamptz NOT NULL,
	changed_at	timestamptz NOT NULL,
	UNIQUE (key, number)
);
CREATE UNIQUE INDEX key_version_one_primary ON envcrypt.key_version (key)
	WHERE state OPERATOR(pg_catalog.=) 'primary';
COMMENT ON TABLE envcrypt.key_version IS 'Versions of keys: one 32-byte secret each, named by its kvid and held to by its commitment. Rows are never deleted.';

CREATE TABLE envcrypt.key_wrap (
	kvid		bytea NOT NULL,
	root_key	text COLLATE "C" NOT NULL,
	wrapped		bytea NOT NULL,
	verified_at	timestamptz,
	PRIMARY KEY (kvid, root_key)
);
COMMENT ON TABLE envcrypt.key_wrap IS 'Wraps: the secret of a version encrypted under a root key. Any one of a version''s wraps opens it.';

CREATE TABLE envcrypt.key_grant (
	key			text COLLATE "C" NOT NULL,
	grantee		text COLLATE "C" NOT NULL,
	grantee_oid	oid NOT NULL,
	privileges	text[] NOT NULL CHECK (privileges OPERATOR(pg_catalog.<@)
					ARRAY['encrypt', 'decrypt', 'search', 'manage']),
	granted_by	text NOT NULL,
	granted_at	timestamptz NOT NULL,
	PRIMARY KEY (key, grantee, grantee_oid)
);
COMMENT ON TABLE envcrypt.key_grant IS 'Privileges on keys. A row counts while a role has both its name and its OID; public has OID 0.';

CREATE TABLE envcrypt.audit_log (
	at			timestamptz NOT NULL,
	actor		text NOT NULL,
	session_actor text NOT NULL,
	action		text NOT NULL,
	key			text COLLATE "C" NOT NULL,
	detail		jsonb NOT NULL
);
COMMENT ON TABLE envcrypt.audit_log IS 'What was done to keys, by whom and when; committed with the change it tells of.';

SELECT pg_catalog.pg_extension_config_dump('envcrypt.key', '');
SELECT pg_catalog.pg_extension_config_dump('envcrypt.key_version', '');
SELECT pg_catalog.pg_extension_config_dump('envcrypt.key_wrap', '');
SELECT pg_catalog.pg_extension_config_dump('envcrypt.key_grant', '');
SELECT pg_catalog.pg_extension_config_dump('envcrypt.audit_log', '');

CREATE FUNCTION envcrypt.key_table_guard() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'envcrypt_key_table_guard';
COMMENT ON FUNCTION envcrypt.key_table_guard() IS 'Trigger on the key tables: lets a restore insert, refuses other direct writes (42501), and tells every session that keys changed.';
REVOKE ALL ON FUNCTION envcrypt.key_table_guard() FROM PUBLIC;

DO $do$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['key', 'key_version', 'key_wrap', 'key_grant', 'audit_log'] LOOP
		EXECUTE pg_catalog.format('CREATE TRIGGER guard_row BEFORE INSERT OR UPDATE OR DELETE ON envcrypt.%I
			FOR EACH ROW EXECUTE FUNCTION envcrypt.key_table_guard()', t);
		EXECUTE pg_catalog.format('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON envcrypt.%I
			FOR EACH STATEMENT EXECUTE FUNCTION envcrypt.key_table_guard()', t);
		EXECUTE pg_catalog.format('ALTER TABLE envcrypt.%I ENABLE ALWAYS TRIGGER guard_row', t);
		EXECUTE pg_catalog.format('ALTER TABLE envcrypt.%I ENABLE ALWAYS TRIGGER guard_truncate', t);
	END LOOP;
END
$do$;

-- ---------------------------------------------------------------------------
-- The type
-- ---------------------------------------------------------------------------

CREATE TYPE envcrypt.enc_bytea;

CREATE FUNCTION envcrypt.enc_bytea_in(cstring, oid, integer) RETURNS envcrypt.enc_bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_in';
CREATE FUNCTION envcrypt.enc_bytea_out(envcrypt.enc_bytea) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_out';
CREATE FUNCTION envcrypt.enc_bytea_recv(internal, oid, integer) RETURNS envcrypt.enc_bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_recv';
CREATE FUNCTION envcrypt.enc_bytea_send(envcrypt.enc_bytea) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_send';
CREATE FUNCTION envcrypt.enc_bytea_typmod_in(cstring[]) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_typmod_in';
CREATE FUNCTION envcrypt.enc_bytea_typmod_out(integer) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_typmod_out';
CREATE FUNCTION envcrypt.enc_bytea_typanalyze(internal) RETURNS boolean
	LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_typanalyze';

CREATE TYPE envcrypt.enc_bytea (
	INPUT = envcrypt.enc_bytea_in,
	OUTPUT = envcrypt.enc_bytea_out,
	RECEIVE = envcrypt.enc_bytea_recv,
	SEND = envcrypt.enc_bytea_send,
	TYPMOD_IN = envcrypt.enc_bytea_typmod_in,
	TYPMOD_OUT = envcrypt.enc_bytea_typmod_out,
	ANALYZE = envcrypt.enc_bytea_typanalyze,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = external
);
COMMENT ON TYPE envcrypt.enc_bytea IS 'A sealed value. enc_bytea(deterministic) takes only values of searchable (aes-256-siv) keys and may be unique.';

CREATE FUNCTION envcrypt.enc_bytea(envcrypt.enc_bytea, integer, boolean) RETURNS envcrypt.enc_bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_coerce';
COMMENT ON FUNCTION envcrypt.enc_bytea(envcrypt.enc_bytea, integer, boolean) IS 'Applies the type modifier: refuses a randomized value in enc_bytea(deterministic) (22023).';
CREATE CAST (envcrypt.enc_bytea AS envcrypt.enc_bytea)
	WITH FUNCTION envcrypt.enc_bytea(envcrypt.enc_bytea, integer, boolean) AS IMPLICIT;

CREATE FUNCTION envcrypt.enc_bytea(bytea) RETURNS envcrypt.enc_bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_from_bytea';
COMMENT ON FUNCTION envcrypt.enc_bytea(bytea) IS 'Takes the bytes of an envelope; anything else is 22P03 and is not shown.';
CREATE CAST (bytea AS envcrypt.enc_bytea) WITH FUNCTION envcrypt.enc_bytea(bytea);
CREATE CAST (envcrypt.enc_bytea AS bytea) WITHOUT FUNCTION;

-- Total, bytewise, never raising: plans, DISTINCT and VACUUM may call them anywhere.
-- The operators are in pg_catalog, so that "column = .." is found whatever the
-- search_path is.
CREATE FUNCTION envcrypt.enc_bytea_support(internal) RETURNS internal
	LANGUAGE c STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_support';
COMMENT ON FUNCTION envcrypt.enc_bytea_support(internal) IS 'Planner support: refuses a comparison with encrypt() under a randomized key, which could never match (0A000).';
CREATE FUNCTION envcrypt.enc_bytea_eq(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT envcrypt.enc_bytea_support
	AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_eq';
CREATE FUNCTION envcrypt.enc_bytea_ne(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE SUPPORT envcrypt.enc_bytea_support
	AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_ne';
CREATE FUNCTION envcrypt.enc_bytea_lt(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_lt';
CREATE FUNCTION envcrypt.enc_bytea_le(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_le';
CREATE FUNCTION envcrypt.enc_bytea_gt(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_gt';
CREATE FUNCTION envcrypt.enc_bytea_ge(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_ge';
CREATE FUNCTION envcrypt.enc_bytea_cmp(envcrypt.enc_bytea, envcrypt.enc_bytea) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_cmp';
CREATE FUNCTION envcrypt.enc_bytea_hash(envcrypt.enc_bytea) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_hash';
CREATE FUNCTION envcrypt.enc_bytea_hash_extended(envcrypt.enc_bytea, bigint) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_bytea_hash_extended';

CREATE OPERATOR pg_catalog.= (LEFTARG = envcrypt.enc_bytea, RIGHTARG = envcrypt.enc_bytea,
	FUNCTION = envcrypt.enc_bytea_eq, COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR pg_catalog.<> (LEFTARG = envcrypt.enc_bytea, RIGHTARG = envcrypt.enc_bytea,
	FUNCTION = envcrypt.enc_bytea_ne, COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR pg_catalog.< (LEFTARG = envcrypt.enc_bytea, RIGHTARG = envcrypt.enc_bytea,
	FUNCTION = envcrypt.enc_bytea_lt, COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR pg_catalog.<= (LEFTARG = envcrypt.enc_bytea, RIGHTARG = envcrypt.enc_bytea,
	FUNCTION = envcrypt.enc_bytea_le, COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR pg_catalog.> (LEFTARG = envcrypt.enc_bytea, RIGHTARG = envcrypt.enc_bytea,
	FUNCTION = envcrypt.enc_bytea_gt, COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR pg_catalog.>= (LEFTARG = envcrypt.enc_bytea, RIGHTARG = envcrypt.enc_bytea,
	FUNCTION = envcrypt.enc_bytea_ge, COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel);

CREATE OPERATOR CLASS envcrypt.enc_bytea_ops DEFAULT FOR TYPE envcrypt.enc_bytea USING btree AS
	OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=, OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>,
	FUNCTION 1 envcrypt.enc_bytea_cmp(envcrypt.enc_bytea, envcrypt.enc_bytea),
	FUNCTION 2 pg_catalog.bytea_sortsupport(internal),
	FUNCTION 4 pg_catalog.btequalimage(oid);
CREATE OPERATOR CLASS envcrypt.enc_bytea_ops DEFAULT FOR TYPE envcrypt.enc_bytea USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 envcrypt.enc_bytea_hash(envcrypt.enc_bytea),
	FUNCTION 2 envcrypt.enc_bytea_hash_extended(envcrypt.enc_bytea, bigint);

-- ---------------------------------------------------------------------------
-- Seal and open.  EXECUTE is everybody's; the grant on the key is the gate.
-- A context is a second overload and never a DEFAULT, so that an explicit NULL
-- is told from none at all.
-- ---------------------------------------------------------------------------

CREATE FUNCTION envcrypt.encrypt(plaintext text, key text) RETURNS envcrypt.enc_bytea
	LANGUAGE c VOLATILE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_encrypt';
CREATE FUNCTION envcrypt.encrypt(value anyelement, key text) RETURNS envcrypt.enc_bytea
	LANGUAGE c VOLATILE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_encrypt_typed';
CREATE FUNCTION envcrypt.encrypt_bound(plaintext text, key text, context text) RETURNS envcrypt.enc_bytea
	LANGUAGE c VOLATILE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_encrypt_bound';
CREATE FUNCTION envcrypt.encrypt_bound(value anyelement, key text, context text) RETURNS envcrypt.enc_bytea
	LANGUAGE c VOLATILE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_encrypt_bound_typed';
CREATE FUNCTION envcrypt.encrypt_bytea(plaintext bytea, key text) RETURNS envcrypt.enc_bytea
	LANGUAGE c VOLATILE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_encrypt_bytea';
CREATE FUNCTION envcrypt.encrypt_bytea(plaintext bytea, key text, context text) RETURNS envcrypt.enc_bytea
	LANGUAGE c VOLATILE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_encrypt_bytea_bound';

CREATE FUNCTION envcrypt.decrypt(value envcrypt.enc_bytea) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_decrypt';
CREATE FUNCTION envcrypt.decrypt(value envcrypt.enc_bytea, context text) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_decrypt_bound';
CREATE FUNCTION envcrypt.decrypt_bytea(value envcrypt.enc_bytea) RETURNS bytea
	LANGUAGE c STABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_decrypt_bytea';
CREATE FUNCTION envcrypt.decrypt_bytea(value envcrypt.enc_bytea, context text) RETURNS bytea
	LANGUAGE c STABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_decrypt_bytea_bound';
CREATE FUNCTION envcrypt.decrypt_as(value envcrypt.enc_bytea, type anyelement) RETURNS anyelement
	LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_decrypt_as';
CREATE FUNCTION envcrypt.decrypt_as(value envcrypt.enc_bytea, type anyelement, context text) RETURNS anyelement
	LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_decrypt_as_bound';
CREATE FUNCTION envcrypt.try_decrypt(value envcrypt.enc_bytea) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_try_decrypt';
CREATE FUNCTION envcrypt.try_decrypt(value envcrypt.enc_bytea, context text) RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'envcrypt_try_decrypt_bound';

CREATE FUNCTION envcrypt.search_terms(plaintext text, key text) RETURNS envcrypt.enc_bytea[]
	LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_search_terms';
CREATE FUNCTION envcrypt.search_terms(plaintext text, key text, context text) RETURNS envcrypt.enc_bytea[]
	LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_search_terms_bound';
CREATE FUNCTION envcrypt.enc_context(VARIADIC parts text[]) RETURNS text
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_context';
CREATE FUNCTION envcrypt.enc_context(VARIADIC parts "any") RETURNS text
	LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_enc_context_any';
CREATE FUNCTION envcrypt.enc_info(value envcrypt.enc_bytea, OUT key text, OUT version integer, OUT state text,
		OUT algorithm text, OUT has_context boolean, OUT plaintext_bytes bigint) RETURNS record
	LANGUAGE c STABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'envcrypt_enc_info';
CREATE FUNCTION envcrypt.encrypt_trigger() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'envcrypt_encrypt_trigger';
CREATE FUNCTION envcrypt.has_key_privilege(key text, privilege text) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envcrypt_has_key_privilege';

-- ---------------------------------------------------------------------------
-- Administration.  EXECUTE is nobody's but the superuser's until granted.
-- ---------------------------------------------------------------------------

CREATE FUNCTION envcrypt.create_key(name text, algorithm text DEFAULT 'xaes-256-gcm',
		root_keys text[] DEFAULT NULL, label text DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_create_key';
CREATE FUNCTION envcrypt.grant_key(key text, grantee name, privileges text[] DEFAULT '{encrypt,decrypt}') RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_grant_key';
CREATE FUNCTION envcrypt.revoke_key(key text, grantee name, privileges text[] DEFAULT NULL) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_revoke_key';
CREATE FUNCTION envcrypt.disable_key(key text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_disable_key';
CREATE FUNCTION envcrypt.enable_key(key text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_enable_key';
REVOKE ALL ON FUNCTION envcrypt.create_key(text, text, text[], text) FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.grant_key(text, name, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.revoke_key(text, name, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.disable_key(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.enable_key(text) FROM PUBLIC;

-- ---------------------------------------------------------------------------
-- Views: what a role may know of keys.  A role sees the keys it holds a
-- privilege on; members of pg_monitor see all of them.
-- ---------------------------------------------------------------------------

CREATE VIEW envcrypt.keys WITH (security_barrier) AS
	SELECT k.name, k.algorithm, k.enabled, k.root_keys, k.label, k.created_by, k.created_at
	FROM envcrypt.key k
	WHERE envcrypt.has_key_privilege(k.name, 'any');
CREATE VIEW envcrypt.key_versions WITH (security_barrier) AS
	SELECT v.key, v.number, v.state, v.compromised, v.kvid, v.algorithm,
		   (SELECT pg_catalog.count(*) FROM envcrypt.key_wrap w
			WHERE w.kvid OPERATOR(pg_catalog.=) v.kvid) AS wraps,
		   v.created_at, v.changed_at
	FROM envcrypt.key_version v
	WHERE envcrypt.has_key_privilege(v.key, 'any');
CREATE VIEW envcrypt.grants WITH (security_barrier) AS
	SELECT g.key, g.grantee, g.privileges,
		   g.grantee_oid OPERATOR(pg_catalog.=) 0 OR r.oid IS NOT NULL AS active,
		   g.granted_by, g.granted_at
	FROM envcrypt.key_grant g
	LEFT JOIN pg_catalog.pg_roles r
	  ON r.oid OPERATOR(pg_catalog.=) g.grantee_oid AND r.rolname::text COLLATE "C" OPERATOR(pg_catalog.=) g.grantee
	WHERE envcrypt.has_key_privilege(g.key, 'any');
CREATE VIEW envcrypt.audit WITH (security_barrier) AS
	SELECT a.at, a.actor, a.session_actor, a.action, a.key, a.detail
	FROM envcrypt.audit_log a
	WHERE envcrypt.has_key_privilege(a.key, 'manage');
GRANT SELECT ON envcrypt.keys, envcrypt.key_versions, envcrypt.grants, envcrypt.audit TO PUBLIC;
COMMENT ON VIEW envcrypt.keys IS 'Keys the current role holds a privilege on; all of them for superusers and members of pg_monitor.';
COMMENT ON VIEW envcrypt.key_versions IS 'Versions of the keys in envcrypt.keys, with their states and number of wraps.';
COMMENT ON VIEW envcrypt.grants IS 'Privileges on keys. Rows that are not active name a role that was dropped, renamed or came from another cluster.';
COMMENT ON VIEW envcrypt.audit IS 'What was done to the keys the current role may manage.';

-- ---------------------------------------------------------------------------
-- Guards.  Calling either loads the library, and with it the hook that refuses
-- to drop keys.
-- ---------------------------------------------------------------------------

CREATE FUNCTION envcrypt.guard_drop() RETURNS event_trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'envcrypt_guard_drop';
COMMENT ON FUNCTION envcrypt.guard_drop() IS 'Event trigger: loads the library, whose hook refuses to drop the extension with its keys (55000) unless envcrypt.allow_destroy is on.';
CREATE FUNCTION envcrypt.guard_ddl() RETURNS event_trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'envcrypt_guard_ddl';
COMMENT ON FUNCTION envcrypt.guard_ddl() IS 'Event trigger: refuses uniqueness over randomized values (0A000) and keeps the triggers of the key tables ENABLE ALWAYS.';
REVOKE ALL ON FUNCTION envcrypt.guard_drop() FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.guard_ddl() FROM PUBLIC;

CREATE EVENT TRIGGER envcrypt_guard_drop ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED', 'DROP TABLE', 'DROP TRIGGER', 'ALTER EXTENSION', 'ALTER TABLE')
	EXECUTE FUNCTION envcrypt.guard_drop();
CREATE EVENT TRIGGER envcrypt_guard_ddl ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE INDEX', 'CREATE SCHEMA')
	EXECUTE FUNCTION envcrypt.guard_ddl();
ALTER EVENT TRIGGER envcrypt_guard_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER envcrypt_guard_ddl ENABLE ALWAYS;

-- ---------------------------------------------------------------------------
-- Comments: what each takes and returns, and the errors of its own.  Errors
-- common to all that seal and open are in docs/sql-reference.md.
-- ---------------------------------------------------------------------------

COMMENT ON COLUMN envcrypt.key.name IS 'Name of the key; never used again.';
COMMENT ON COLUMN envcrypt.key.label IS 'What its wraps are bound to; never changes.';
COMMENT ON COLUMN envcrypt.key.algorithm IS 'xaes-256-gcm or aes-256-siv; never changes.';
COMMENT ON COLUMN envcrypt.key.root_keys IS 'Root keys, each ENDPOINT:KEY, that wrap its versions.';
COMMENT ON COLUMN envcrypt.key.enabled IS 'False after disable_key().';
COMMENT ON COLUMN envcrypt.key.created_by IS 'Role that made it.';
COMMENT ON COLUMN envcrypt.key.created_at IS 'Start of the transaction that made it.';
COMMENT ON COLUMN envcrypt.key_version.kvid IS 'Random id, bytes 4 to 11 of every value it seals.';
COMMENT ON COLUMN envcrypt.key_version.key IS 'Name of its key.';
COMMENT ON COLUMN envcrypt.key_version.number IS 'Counts the versions of a key from 1.';
COMMENT ON COLUMN envcrypt.key_version.state IS 'pending, primary and decrypt_only open; primary alone seals; disabled, destroy_scheduled and destroyed do neither.';
COMMENT ON COLUMN envcrypt.key_version.compromised IS 'Whether somebody marked it so.';
COMMENT ON COLUMN envcrypt.key_version.algorithm IS 'Algorithm of the key.';
COMMENT ON COLUMN envcrypt.key_version.commitment IS 'Names the secret without telling it; compared whenever a wrap is opened.';
COMMENT ON COLUMN envcrypt.key_version.options IS 'What changes the bytes it seals to, beside its algorithm.';
COMMENT ON COLUMN envcrypt.key_version.origin IS 'Signature of the key maker, for root keys whose wraps anybody can make.';
COMMENT ON COLUMN envcrypt.key_version.created_at IS 'Start of the transaction that made it.';
COMMENT ON COLUMN envcrypt.key_version.changed_at IS 'When its state last changed.';
COMMENT ON COLUMN envcrypt.key_wrap.kvid IS 'The version.';
COMMENT ON COLUMN envcrypt.key_wrap.root_key IS 'The root key that opens it, ENDPOINT:KEY.';
COMMENT ON COLUMN envcrypt.key_wrap.wrapped IS 'The secret, encrypted under the root key.';
COMMENT ON COLUMN envcrypt.key_wrap.verified_at IS 'When it was last seen to open.';
COMMENT ON COLUMN envcrypt.key_grant.key IS 'Name of the key.';
COMMENT ON COLUMN envcrypt.key_grant.grantee IS 'Name of the role, or public.';
COMMENT ON COLUMN envcrypt.key_grant.grantee_oid IS 'OID of the role; 0 for public.';
COMMENT ON COLUMN envcrypt.key_grant.privileges IS 'Of encrypt, decrypt, search and manage.';
COMMENT ON COLUMN envcrypt.key_grant.granted_by IS 'Role that granted last.';
COMMENT ON COLUMN envcrypt.key_grant.granted_at IS 'When.';
COMMENT ON COLUMN envcrypt.audit_log.at IS 'When it was done.';
COMMENT ON COLUMN envcrypt.audit_log.actor IS 'Role that did it.';
COMMENT ON COLUMN envcrypt.audit_log.session_actor IS 'Role that was logged in.';
COMMENT ON COLUMN envcrypt.audit_log.action IS 'Function that was called.';
COMMENT ON COLUMN envcrypt.audit_log.key IS 'Name of the key.';
COMMENT ON COLUMN envcrypt.audit_log.detail IS 'What else there is to say.';

COMMENT ON CAST (envcrypt.enc_bytea AS envcrypt.enc_bytea) IS 'Applies the type modifier.';
COMMENT ON CAST (bytea AS envcrypt.enc_bytea) IS 'Checks that the bytes are an envelope.';
COMMENT ON CAST (envcrypt.enc_bytea AS bytea) IS 'The bytes of the envelope.';
COMMENT ON OPERATOR pg_catalog.= (envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'equal, byte for byte';
COMMENT ON OPERATOR pg_catalog.<> (envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'not equal, byte for byte';
COMMENT ON OPERATOR pg_catalog.< (envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'less than, by bytes';
COMMENT ON OPERATOR pg_catalog.<= (envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'less than or equal, by bytes';
COMMENT ON OPERATOR pg_catalog.> (envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'greater than, by bytes';
COMMENT ON OPERATOR pg_catalog.>= (envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'greater than or equal, by bytes';
COMMENT ON OPERATOR CLASS envcrypt.enc_bytea_ops USING btree IS 'Order of envelopes by bytes.';
COMMENT ON OPERATOR CLASS envcrypt.enc_bytea_ops USING hash IS 'Equality of envelopes by bytes.';
COMMENT ON OPERATOR FAMILY envcrypt.enc_bytea_ops USING btree IS 'Order of envelopes by bytes.';
COMMENT ON OPERATOR FAMILY envcrypt.enc_bytea_ops USING hash IS 'Equality of envelopes by bytes.';
COMMENT ON EVENT TRIGGER envcrypt_guard_drop IS 'Refuses to drop keys.';
COMMENT ON EVENT TRIGGER envcrypt_guard_ddl IS 'Refuses uniqueness over randomized values; keeps the guards of the key tables.';

COMMENT ON FUNCTION envcrypt.enc_bytea_in(cstring, oid, integer) IS 'Input: \x and the hex of an envelope; anything else is 22P03 and is not shown.';
COMMENT ON FUNCTION envcrypt.enc_bytea_out(envcrypt.enc_bytea) IS 'Output: \x and lower-case hex, whatever bytea_output says.';
COMMENT ON FUNCTION envcrypt.enc_bytea_recv(internal, oid, integer) IS 'Binary input: the bytes of an envelope; anything else is 22P03.';
COMMENT ON FUNCTION envcrypt.enc_bytea_send(envcrypt.enc_bytea) IS 'Binary output: the bytes of the envelope.';
COMMENT ON FUNCTION envcrypt.enc_bytea_typmod_in(cstring[]) IS 'The one type modifier: deterministic.';
COMMENT ON FUNCTION envcrypt.enc_bytea_typmod_out(integer) IS 'The type modifier as text.';
COMMENT ON FUNCTION envcrypt.enc_bytea_typanalyze(internal) IS 'ANALYZE: null fraction, width and distinctness of randomized values, full statistics of deterministic ones.';
COMMENT ON FUNCTION envcrypt.enc_bytea_eq(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Whether two envelopes have the same bytes. Never raises.';
COMMENT ON FUNCTION envcrypt.enc_bytea_ne(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Whether two envelopes differ. Never raises.';
COMMENT ON FUNCTION envcrypt.enc_bytea_lt(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Bytewise order of envelopes, which says nothing of the plaintexts.';
COMMENT ON FUNCTION envcrypt.enc_bytea_le(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Bytewise order of envelopes, which says nothing of the plaintexts.';
COMMENT ON FUNCTION envcrypt.enc_bytea_gt(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Bytewise order of envelopes, which says nothing of the plaintexts.';
COMMENT ON FUNCTION envcrypt.enc_bytea_ge(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Bytewise order of envelopes, which says nothing of the plaintexts.';
COMMENT ON FUNCTION envcrypt.enc_bytea_cmp(envcrypt.enc_bytea, envcrypt.enc_bytea) IS 'Bytewise comparison for btree: negative, 0 or positive.';
COMMENT ON FUNCTION envcrypt.enc_bytea_hash(envcrypt.enc_bytea) IS 'Hash of the envelope''s bytes.';
COMMENT ON FUNCTION envcrypt.enc_bytea_hash_extended(envcrypt.enc_bytea, bigint) IS 'Seeded hash of the envelope''s bytes, for hash partitioning.';

COMMENT ON FUNCTION envcrypt.encrypt(text, text) IS 'Seals text under the primary version of a key. Needs the privilege encrypt.';
COMMENT ON FUNCTION envcrypt.encrypt(anyelement, text) IS 'Seals the canonical text of a value of any type, the same under all settings; decrypt_as() gives the value back. bytea is 22023: use encrypt_bytea().';
COMMENT ON FUNCTION envcrypt.encrypt_bound(text, text, text) IS 'Seals text bound to a context, which is not stored and must be given again to open it.';
COMMENT ON FUNCTION envcrypt.encrypt_bound(anyelement, text, text) IS 'Seals the canonical text of a value of any type, bound to a context.';
COMMENT ON FUNCTION envcrypt.encrypt_bytea(bytea, text) IS 'Seals bytes under the primary version of a key.';
COMMENT ON FUNCTION envcrypt.encrypt_bytea(bytea, text, text) IS 'Seals bytes bound to a context.';
COMMENT ON FUNCTION envcrypt.decrypt(envcrypt.enc_bytea) IS 'Opens a value sealed without a context, as text. Needs the privilege decrypt on its key.';
COMMENT ON FUNCTION envcrypt.decrypt(envcrypt.enc_bytea, text) IS 'Opens a value with the context it was bound to, as text.';
COMMENT ON FUNCTION envcrypt.decrypt_bytea(envcrypt.enc_bytea) IS 'Opens a value sealed without a context, as bytes.';
COMMENT ON FUNCTION envcrypt.decrypt_bytea(envcrypt.enc_bytea, text) IS 'Opens a value with the context it was bound to, as bytes.';
COMMENT ON FUNCTION envcrypt.decrypt_as(envcrypt.enc_bytea, anyelement) IS 'Opens a value as the type of the second argument, whose value does not matter: decrypt_as(dob, NULL::date). 22023 when the text is not one of that type.';
COMMENT ON FUNCTION envcrypt.decrypt_as(envcrypt.enc_bytea, anyelement, text) IS 'Opens a value with its context as the type of the second argument.';
COMMENT ON FUNCTION envcrypt.try_decrypt(envcrypt.enc_bytea) IS 'As decrypt(), but NULL when the value is malformed or not authentic or its key is unknown or destroyed. Lack of a privilege, a missing context and an unavailable key still raise.';
COMMENT ON FUNCTION envcrypt.try_decrypt(envcrypt.enc_bytea, text) IS 'As decrypt() with a context, but NULL when the value is malformed or not authentic or its key is unknown or destroyed.';
COMMENT ON FUNCTION envcrypt.search_terms(text, text) IS 'What a text is sealed to under each live version of a searchable key: column = ANY (search_terms(..)). Needs the privilege search or encrypt.';
COMMENT ON FUNCTION envcrypt.search_terms(text, text, text) IS 'Search terms for values bound to a context.';
COMMENT ON FUNCTION envcrypt.enc_context(text[]) IS 'One context of several parts, such that no two lists of parts give the same: length in bytes of UTF-8, colon, part, comma. NULL parts are 22023.';
COMMENT ON FUNCTION envcrypt.enc_context("any") IS 'One context of parts of any types, each by the canonical text it is sealed with: what encrypt_trigger() binds. NULL parts are 22023.';
COMMENT ON FUNCTION envcrypt.enc_info(envcrypt.enc_bytea) IS 'What can be said of a sealed value without opening it. Needs no privilege; key, version and state are NULL when this database does not have the key.';
COMMENT ON FUNCTION envcrypt.encrypt_trigger() IS 'BEFORE INSERT OR UPDATE row trigger: encrypt_trigger(plaintext column, envelope column, key [, context part ..]) seals the first into the second and sets the first NULL. A context part is a column, or a literal after =.';
COMMENT ON FUNCTION envcrypt.has_key_privilege(text, text) IS 'Whether the current role has a privilege on a key: encrypt, decrypt, search, manage, or any.';

COMMENT ON FUNCTION envcrypt.create_key(text, text, text[], text) IS 'Makes a key with one primary version: xaes-256-gcm is randomized, aes-256-siv searchable. root_keys wrap it (default: envcrypt.default_root_keys); label, by default the name, is what wraps are bound to. A caller that is no superuser gets encrypt, decrypt and manage. 42710 when the name was ever used, 58000 when a root key does not answer.';
COMMENT ON FUNCTION envcrypt.grant_key(text, name, text[]) IS 'Adds privileges on a key to a role or to public. Needs manage.';
COMMENT ON FUNCTION envcrypt.revoke_key(text, name, text[]) IS 'Takes privileges on a key away, all of them when none are named; holds for the next statement of every session. Needs manage.';
COMMENT ON FUNCTION envcrypt.disable_key(text) IS 'Emergency stop: nothing is sealed or opened with the key until enable_key(). Needs manage.';
COMMENT ON FUNCTION envcrypt.enable_key(text) IS 'Ends disable_key(). Needs manage.';

-- ---------------------------------------------------------------------------
-- pgcrypto has an encrypt() of three arguments and goes on having it.  The
-- server silences notices of extension scripts, except for those who ask.
-- ---------------------------------------------------------------------------

DO $do$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'pgcrypto') THEN
		PERFORM pg_catalog.set_config('client_min_messages', 'notice', true);
		RAISE NOTICE 'pgcrypto is installed in this database too'
			USING DETAIL = 'encrypt(data, key, type) and decrypt(data, key, type) are still pgcrypto''s; encrypt(value, key) and decrypt(value [, context]) are envcrypt''s.',
				  HINT = 'docs/from-pgcrypto.md tells how to move a column.';
		PERFORM pg_catalog.set_config('client_min_messages', 'warning', true);
	END IF;
END
$do$;
