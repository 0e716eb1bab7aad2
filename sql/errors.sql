-- The error table of docs/sql-reference.md: each row that one server can
-- produce, and the order in which the checks are made.  The rows about files
-- of root keys, standbys and 1 GB are in test/tap/logs.pl.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
CREATE SCHEMA er;
GRANT USAGE ON SCHEMA er TO PUBLIC;
SET search_path = er, envcrypt;
CREATE ROLE regress_envcrypt_er;
CREATE ROLE regress_envcrypt_er_manager;
SELECT create_key('er-pii'), create_key('er-det', 'aes-256-siv');
SELECT encrypt('v', 'er-pii') AS pii, encrypt('v', 'er-det') AS det, encrypt_bound('v', 'er-pii', 'c') AS bound \gset

-- What a statement raises: code, message, detail, hint.
CREATE FUNCTION raises(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text; schema text;
BEGIN
	EXECUTE stmt;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, schema = SCHEMA_NAME;
	RETURN pg_catalog.concat_ws(' | ', state, message, NULLIF(detail, ''), NULLIF(hint, ''),
		CASE WHEN schema = '' THEN '(not raised by envcrypt)' END);
END $$;
CREATE FUNCTION raw_envelope(bytea) RETURNS enc_bytea
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
CREATE FUNCTION envelope(suite text, flags text, kvid bytea, body int) RETURNS enc_bytea LANGUAGE sql STABLE
	AS $$ SELECT (decode('ec' || suite || flags || '00', 'hex') || kvid || decode(repeat('00', body), 'hex'))::enc_bytea $$;
\pset format unaligned
\pset tuples_only on

-- ---- the order of checks of decrypt(): one fault fewer each time.
-- The key er-all is disabled, has no wrap and gives our role nothing.
INSERT INTO envcrypt.key VALUES ('er-all', 'er-all', 'xaes-256-gcm', '{local:default}', false, 'test', now());
INSERT INTO envcrypt.key_version
	VALUES ('\x00000000000000e1', 'er-all', 1, 'primary', false, 'xaes-256-gcm', decode(repeat('00', 32), 'hex'), '{}', NULL, now(), now());
CREATE FUNCTION opens(value text, context text DEFAULT ', ''c''') RETURNS text LANGUAGE sql AS $$
	SELECT raises(format('SELECT decrypt(%s%s)', value, context)) $$;
SET ROLE regress_envcrypt_er;
SELECT 'null value: ' || opens('NULL', ', NULL');
SELECT 'form: ' || opens($$raw_envelope('\xec0200')$$, ', NULL');
SELECT 'suite not built: ' || opens($$envelope('02', '00', '\x00000000000000ee', 72)$$, ', NULL');
SELECT 'null context: ' || opens($$envelope('03', '00', '\x00000000000000ee', 16)$$, ', NULL');
SELECT 'empty context: ' || opens($$envelope('03', '00', '\x00000000000000ee', 16)$$, ', ''''');
SELECT 'needless context: ' || opens($$envelope('03', '00', '\x00000000000000ee', 16)$$);
SELECT 'missing context: ' || opens($$envelope('03', '01', '\x00000000000000ee', 16)$$, '');
SELECT 'kvid: ' || opens($$envelope('03', '01', '\x00000000000000ee', 16)$$);
SELECT 'privilege: ' || opens($$envelope('03', '01', '\x00000000000000e1', 16)$$);
RESET ROLE;
SELECT 'suite and algorithm: ' || opens($$envelope('03', '01', '\x00000000000000e1', 16)$$);
SELECT 'state: ' || opens($$envelope('01', '01', '\x00000000000000e1', 40)$$);
SELECT enable_key('er-all');
SELECT 'secret: ' || opens($$envelope('01', '01', '\x00000000000000e1', 40)$$);
SELECT 'tag: ' || opens(format('%L', :'bound'), ', ''other''');
SELECT 'text: ' || opens($$encrypt_bytea('\xc328', 'er-pii', 'c')$$);
-- one message, whatever was wrong with the value or its context
SELECT 'tag, modified: ' || opens(format('%L', set_byte(:'pii', 52, get_byte(:'pii', 52) # 1)), '');
SELECT 'tag, nonce: ' || opens(format('%L', set_byte(:'pii', 12, get_byte(:'pii', 12) # 1)), '');
SELECT 'tag, searchable: ' || opens(format('%L', set_byte(:'det', 12, get_byte(:'det', 12) # 1)), '');
SELECT 'tag, flag cleared: ' || opens(format('%L', set_byte(:'bound', 2, 0)), '');
SELECT 'tag, padding claimed: ' || opens(format('%L', set_byte(:'pii', 2, 2)), '');

-- ---- malformed: every rule of the form, and nothing of the value
SELECT v || ': ' || raises(format('SELECT %L::enc_bytea', v)) FROM unnest(ARRAY['secret', '', '\x', '\xe', '\xzz', E'\\\\xec01',
	'\xec01', '\xec' || repeat('00', 51), '\xec01' || repeat('00', 50), '\xec010400' || repeat('11', 48), '\xec010001' || repeat('11', 48),
	'\xec010000' || repeat('00', 48), '\xec010000' || repeat('ff', 8) || repeat('11', 40), '\xec010000' || repeat('11', 47),
	'\xed010000' || repeat('11', 48), '\xec800000' || repeat('11', 48), '\xec020000' || repeat('11', 79), '\xec030000' || repeat('11', 23),
	'\xec050000' || repeat('11', 35), '\xec040000' || repeat('11', 47)]) v;
SELECT 'cast: ' || raises($$SELECT 'secret'::bytea::enc_bytea$$);

-- ---- bad arguments
CREATE DOMAIN photo AS bytea;
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$encrypt('v', NULL)$$, $$encrypt_bound('v', 'er-pii', NULL)$$, $$encrypt_bound('v', 'er-pii', '')$$,
	$$search_terms('v', 'er-det', '')$$, $$enc_context('a', NULL)$$,
	$$encrypt('\x01'::bytea, 'er-pii')$$, $$encrypt('\x01'::photo, 'er-pii')$$, $$encrypt(encrypt('v', 'er-pii'), 'er-pii')$$,
	$$decrypt_as(encrypt('v', 'er-pii'), NULL::bytea)$$,
	$$decrypt_as(encrypt('notadate', 'er-pii'), NULL::date)$$,
	$$search_terms('v', 'er-pii')$$, $$has_key_privilege('er-pii', 'read')$$, $$NULL::enc_bytea(random)$$]) s;

-- ---- unknown keys; a name is echoed only when it could be one
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$encrypt('v', 'er-none')$$, $$encrypt('er-pii', 'my secret value')$$, $$encrypt('er-pii', '4012-8888 8888')$$,
	$$encrypt('v', '')$$, $$search_terms('v', 'er none')$$, $$search_terms('v', repeat('x', 129))$$,
	$$grant_key('er-none', 'public')$$, $$revoke_key('er-none', 'public')$$, $$disable_key('er-none')$$, $$enable_key('er-none')$$]) s;

-- arguments swapped, and the value could be a key's name: it is not shown
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$encrypt('er-pii', 'ann@example.org')$$, $$encrypt_bound('er-pii', 'ann@example.org', 'c')$$,
	$$encrypt_bytea('er-pii', 'ann@example.org')$$, $$encrypt('er-pii'::name, 'ann@example.org')$$,
	$$search_terms('er-det', 'ann@example.org')$$, $$search_terms('er-det', 'ann@example.org', 'c')$$]) s;

-- ---- privileges
SET ROLE regress_envcrypt_er;
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$encrypt('v', 'er-pii')$$, $$encrypt_bytea('v', 'er-pii')$$, $$search_terms('v', 'er-det')$$, $$create_key('er-other')$$]) s;
SELECT 'decrypt: ' || opens(format('%L', :'pii'), '');
SELECT 'decrypt_as: ' || raises(format('SELECT decrypt_as(%L, NULL::int)', :'pii'));
SELECT 'try_decrypt: ' || raises(format('SELECT try_decrypt(%L)', :'pii'));
RESET ROLE;
-- a grant to a role of the same name that is another role's: inert
INSERT INTO envcrypt.key_grant VALUES ('er-pii', 'regress_envcrypt_er', 1, '{encrypt,decrypt}', 'test', now());
SELECT grantee, active FROM grants WHERE key = 'er-pii';
SET ROLE regress_envcrypt_er;
SELECT 'inert grant: ' || raises($$SELECT encrypt('v', 'er-pii')$$);
RESET ROLE;
SELECT revoke_key('er-pii', 'regress_envcrypt_er');
-- EXECUTE is not enough: the key must be one's to manage; a key one makes is
GRANT EXECUTE ON FUNCTION create_key, grant_key, revoke_key, disable_key, enable_key TO regress_envcrypt_er_manager;
SET ROLE regress_envcrypt_er_manager;
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$grant_key('er-pii', 'public')$$, $$revoke_key('er-pii', 'public')$$, $$disable_key('er-pii')$$, $$enable_key('er-pii')$$]) s;
SELECT create_key('er-mine', 'aes-256-siv');
SELECT 'own key: ' || raises($$SELECT disable_key('er-mine'), enable_key('er-mine'), grant_key('er-mine', 'public', '{search}')$$);
SELECT key, grantee, privileges FROM grants WHERE key = 'er-mine' ORDER BY grantee;
RESET ROLE;

-- ---- writing to the key tables
SELECT s || ': ' || raises(s) FROM unnest(ARRAY[
	$$UPDATE envcrypt.key SET enabled = true$$, $$DELETE FROM envcrypt.key_version$$, $$TRUNCATE envcrypt.key_wrap$$,
	$$UPDATE envcrypt.key_grant SET privileges = '{decrypt}'$$, $$DELETE FROM envcrypt.audit_log$$]) s;
SET ROLE regress_envcrypt_er;
SELECT 'not the owner: ' || raises($$INSERT INTO envcrypt.key_grant SELECT * FROM envcrypt.key_grant$$);
RESET ROLE;

-- ---- create_key, grant_key, revoke_key
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$create_key('er-pii')$$, $$create_key(NULL)$$, $$create_key('')$$, $$create_key('two words')$$, $$create_key(repeat('x', 129))$$,
	$$create_key('er-x', 'aes')$$, $$create_key('er-x', NULL)$$, $$create_key('er-x', 'kc-xaes-256-gcm')$$, $$create_key('er-x', 'hmac-sha-256')$$,
	$$create_key('er-x', root_keys => '{aws-eu:x}')$$, $$create_key('er-x', root_keys => '{default}')$$, $$create_key('er-x', root_keys => '{}')$$,
	$$create_key('er-x', root_keys => '{local:}')$$, $$create_key('er-x', root_keys => '{NULL}')$$,
	$$create_key('er-x', root_keys => '{local:er-missing}')$$, $$create_key('er-x', label => 'two words')$$,
	$$grant_key('er-pii', 'regress_envcrypt_nobody')$$, $$grant_key('er-pii', NULL)$$, $$grant_key('er-pii', 'public', NULL)$$,
	$$grant_key('er-pii', 'public', '{read}')$$, $$grant_key('er-pii', 'public', '{}')$$, $$grant_key('er-pii', 'public', '{search}')$$,
	$$revoke_key('er-pii', 'public', '{read}')$$, $$revoke_key('er-pii', NULL)$$]) s;
-- to revoke what is not there is a notice and no audit row; of a name that is no role's, an error
SELECT count(*) AS before FROM audit WHERE key = 'er-pii' \gset
SET client_min_messages = notice;
SELECT revoke_key('er-pii', 'regress_envcrypt_er');
SELECT revoke_key('er-pii', 'public', '{decrypt}');
SET client_min_messages = warning;
SELECT 'no such role: ' || raises($$SELECT revoke_key('er-pii', 'regress_envcrypt_nobody')$$);
SELECT count(*) - :before AS audit_rows FROM audit WHERE key = 'er-pii';
SELECT 'a name is never used again: ' || raises($$SELECT create_key('er-all')$$);

-- ---- states.  A version's row is put back in another state, as a restore
-- would do it.
CREATE TABLE sealed (state text, v enc_bytea);
DO $do$
DECLARE
	s text; k envcrypt.key; v envcrypt.key_version; w envcrypt.key_wrap;
BEGIN
	FOREACH s IN ARRAY '{pending,decrypt_only,disabled,destroy_scheduled,destroyed}'::text[] LOOP
		BEGIN
			PERFORM create_key('er-' || s);
			SELECT * INTO k FROM envcrypt.key WHERE name = 'er-' || s;
			SELECT * INTO v FROM envcrypt.key_version WHERE key = k.name;
			SELECT * INTO w FROM envcrypt.key_wrap WHERE kvid = v.kvid;
			RAISE EXCEPTION 'roll back';
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
		INSERT INTO envcrypt.key VALUES (k.*);
		INSERT INTO envcrypt.key_wrap VALUES (w.*);
		v.state := s;
		INSERT INTO envcrypt.key_version VALUES (v.*);
		INSERT INTO sealed VALUES (s, envelope('01', '00', v.kvid, 40));
	END LOOP;
END $do$;
-- authentication failure: the state let it pass
SELECT s || ', decrypt: ' || raises(format('SELECT decrypt(%L)', v)) FROM sealed x(s, v);
SELECT s || ', try_decrypt: ' || raises(format('SELECT try_decrypt(%L)', v)) FROM sealed x(s, v);
SELECT state || ', try_decrypt: ' || coalesce(try_decrypt(v), 'NULL') FROM sealed WHERE state !~ 'disabled|scheduled';
SELECT s || ', encrypt: ' || raises(format('SELECT encrypt(%L, %L)', 'v', 'er-' || s)) FROM sealed x(s, v);
BEGIN;
SELECT create_key('er-old'), create_key('er-new');
SELECT encrypt('opened', 'er-old') AS old, encrypt('opened', 'er-new') AS new,
	   (SELECT jsonb_agg(k) FROM envcrypt.key k WHERE name ~ 'er-(old|new)') AS k,
	   (SELECT jsonb_agg(v) FROM envcrypt.key_version v WHERE key ~ 'er-(old|new)') AS v,
	   (SELECT jsonb_agg(w) FROM envcrypt.key_wrap w JOIN envcrypt.key_version v USING (kvid) WHERE key ~ 'er-(old|new)') AS w \gset
ROLLBACK;
SELECT 'rolled back: ' || opens(format('%L', :'old'), '');
INSERT INTO envcrypt.key SELECT * FROM jsonb_populate_recordset(NULL::envcrypt.key, :'k');
INSERT INTO envcrypt.key_wrap SELECT * FROM jsonb_populate_recordset(NULL::envcrypt.key_wrap, :'w');
INSERT INTO envcrypt.key_version SELECT v.* FROM jsonb_array_elements(:'v') j,
	jsonb_populate_record(NULL::envcrypt.key_version, j ||
		CASE j->>'key' WHEN 'er-old' THEN '{"state": "decrypt_only"}' ELSE '{"state": "pending"}' END::jsonb) v;
SELECT 'decrypt_only: ' || decrypt(:'old'), 'pending: ' || decrypt(:'new');
SELECT disable_key('er-det');
SELECT s || ': ' || raises('SELECT ' || s) FROM unnest(ARRAY[
	$$encrypt('v', 'er-det')$$, $$search_terms('v', 'er-det')$$]) s;
SELECT 'decrypt: ' || opens(format('%L', :'det'), '');
SELECT 'try_decrypt: ' || raises(format('SELECT try_decrypt(%L)', :'det'));
SELECT enable_key('er-det');

-- ---- keys of this very transaction
SELECT 'in a subtransaction: ' || raises($$SELECT create_key('er-sub'), encrypt('v', 'er-sub')$$);
SELECT 'search terms: ' || raises($$SELECT create_key('er-sub', 'aes-256-siv'), search_terms('v', 'er-sub')$$);
DO $do$ BEGIN
	PERFORM create_key('er-do');
	PERFORM encrypt('v', 'er-do');
END $do$;
BEGIN;
SELECT create_key('er-top');
SELECT 'at top level: ' || octet_length(encrypt('v', 'er-top')::bytea);
SAVEPOINT s;
SELECT create_key('er-sub');
RELEASE s;
SELECT encrypt('v', 'er-sub');
ROLLBACK;
BEGIN;
SELECT create_key('er-prepared');
PREPARE TRANSACTION 'er';

-- ---- guards
CREATE TABLE t (a enc_bytea, d enc_bytea(deterministic));
INSERT INTO t VALUES (encrypt('v', 'er-pii'), encrypt('v', 'er-det'));
CREATE FUNCTION lies(enc_bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN envcrypt.decrypt($1); END $$;
SELECT s || ': ' || split_part(raises(s), ' | ', 1) FROM unnest(ARRAY[
	$$INSERT INTO t (d) VALUES (encrypt('v', 'er-pii'))$$, $$UPDATE t SET d = a$$, $$SELECT a::enc_bytea(deterministic) FROM t$$,
	$$CREATE UNIQUE INDEX ON t (a)$$, $$ALTER TABLE t ADD PRIMARY KEY (a)$$,
	$$SELECT * FROM t WHERE a = encrypt('v', 'er-pii')$$, $$SELECT * FROM t WHERE a <> encrypt_bound('v', 'er-pii', 'c')$$,
	$$CREATE INDEX ON t (lies(a))$$]) s;
SELECT 'allowed: ' || raises(s) FROM unnest(ARRAY[
	$$SELECT * FROM t WHERE d = encrypt('v', 'er-det')$$, $$CREATE UNIQUE INDEX ON t (d)$$, $$CREATE INDEX ON t (a)$$]) s;
SELECT s || ': ' || split_part(raises(s), ' | ', 1) FROM unnest(ARRAY[
	$$DROP EXTENSION envcrypt CASCADE$$,
	$$ALTER EXTENSION envcrypt DROP TABLE envcrypt.key$$]) s;

-- ---- key unavailable: a damaged wrap, another root key, another commitment
DO $do$
DECLARE
	s text; k envcrypt.key; v envcrypt.key_version; w envcrypt.key_wrap;
BEGIN
	FOREACH s IN ARRAY '{damaged,missing,endpoint,commitment,label}'::text[] LOOP
		BEGIN
			PERFORM create_key('er-' || s);
			SELECT * INTO k FROM envcrypt.key WHERE name = 'er-' || s;
			SELECT * INTO v FROM envcrypt.key_version WHERE key = k.name;
			SELECT * INTO w FROM envcrypt.key_wrap WHERE kvid = v.kvid;
			RAISE EXCEPTION 'roll back';
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
		CASE s WHEN 'damaged' THEN w.wrapped := set_byte(w.wrapped, 40, get_byte(w.wrapped, 40) # 1);
			WHEN 'missing' THEN w.root_key := 'local:er-missing';
			WHEN 'endpoint' THEN w.root_key := 'vault-a:transit/pii';
			WHEN 'commitment' THEN v.commitment := set_byte(v.commitment, 0, get_byte(v.commitment, 0) # 1);
			WHEN 'label' THEN k.label := 'er-other';
		END CASE;
		INSERT INTO envcrypt.key VALUES (k.*);
		INSERT INTO envcrypt.key_wrap VALUES (w.*);
		INSERT INTO envcrypt.key_version VALUES (v.*);
	END LOOP;
END $do$;
SELECT s || ': ' || regexp_replace(raises(format('SELECT encrypt(%L, %L)', 'v', 'er-' || s)), '[0-9a-f]{16}', 'ID')
FROM unnest('{damaged,missing,endpoint,commitment,label}'::text[]) s;

\set VERBOSITY default
DROP SCHEMA er CASCADE;
DROP OWNED BY regress_envcrypt_er_manager;
DROP ROLE regress_envcrypt_er, regress_envcrypt_er_manager;
