-- The functions users call: what they take, what they return, how they are
-- labelled, which overload is chosen.
--
-- Every statement here is also run by test/tap/parallel.pl in parallel workers
-- and must print the same there, so nothing random is printed.
\set VERBOSITY default
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
RESET client_min_messages;
CREATE SCHEMA fn;
GRANT USAGE ON SCHEMA fn TO PUBLIC;
SET search_path = fn, envcrypt;
SELECT create_key('fn-pii'), create_key('fn-det', 'aes-256-siv', label => 'opaque');
CREATE ROLE regress_envcrypt_fn;
CREATE ROLE regress_envcrypt_fn_none;
CREATE ROLE regress_envcrypt_fn_monitor IN ROLE pg_monitor;

-- Any bytes as an enc_bytea, past the checks of its input; and an envelope
-- around bytes of zero.
CREATE FUNCTION raw_envelope(bytea) RETURNS enc_bytea
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';
CREATE FUNCTION envelope(suite text, flags text, kvid bytea, body int) RETURNS enc_bytea
	LANGUAGE sql STABLE PARALLEL SAFE
	AS $$ SELECT (decode('ec' || suite || flags || '00', 'hex') || kvid || decode(repeat('00', body), 'hex'))::enc_bytea $$;
CREATE FUNCTION kvid_of(text) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
	AS $$ SELECT kvid FROM envcrypt.key_versions WHERE key = $1 AND number = 1 $$;

-- ---- labels: of every function that is not the type's or the triggers' own
SELECT p.proname AS function, pg_get_function_identity_arguments(p.oid) AS arguments,
	   p.prorettype::regtype AS result, p.provolatile AS vol, p.proparallel AS par,
	   p.proisstrict AS strict, p.proleakproof AS leakproof, p.procost AS cost,
	   has_function_privilege('regress_envcrypt_fn_none', p.oid, 'EXECUTE') AS public
FROM pg_proc p
WHERE p.pronamespace = 'envcrypt'::regnamespace
  AND p.proname !~ '^(enc_bytea|guard_|key_table_guard|check_|key_file_status|wrap_problems|may_be_random)'
ORDER BY 1, 2;
SELECT count(*) AS "without a comment" FROM pg_proc
WHERE pronamespace = 'envcrypt'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
  AND proname !~ '^enc_bytea';

-- ---- encrypt and decrypt: types of text
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
SELECT pg_typeof(encrypt('x', 'fn-pii')), decrypt(encrypt('x', 'fn-pii')) AS literal,
	   decrypt(encrypt('x'::text, 'fn-pii')) AS text,
	   decrypt(encrypt('x'::varchar(9), 'fn-pii')) AS varchar,
	   '>' || decrypt(encrypt('x'::char(5), 'fn-pii')) || '<' AS char_n,
	   decrypt(encrypt('x'::name, 'fn-pii')) AS name,
	   decrypt(encrypt('a@b'::email, 'fn-pii')) AS domain;
SELECT encrypt('q'::"char", 'fn-pii');
SELECT decrypt(encrypt('Größe Ελλάδα 日本語 🙂', 'fn-pii')) AS unicode,
	   decrypt(encrypt(E'tab\tquote''backslash\\', 'fn-pii')) AS special;

-- types of other things
SELECT decrypt(encrypt(42, 'fn-pii')) AS int, decrypt(encrypt(12.50, 'fn-pii')) AS numeric,
	   decrypt(encrypt('-Infinity'::float8, 'fn-pii')) AS float8,
	   decrypt(encrypt(true, 'fn-pii')) AS bool,
	   decrypt(encrypt(DATE '2001-02-28', 'fn-pii')) AS date,
	   decrypt(encrypt('{"b": 1, "a": [2]}'::jsonb, 'fn-pii')) AS jsonb,
	   decrypt(encrypt(ARRAY['a', NULL, 'b,c'], 'fn-pii')) AS text_array;
SELECT decrypt_as(encrypt(42, 'fn-pii'), NULL::int) + 1 AS int,
	   decrypt_as(encrypt('a@b', 'fn-pii'), NULL::email) AS domain,
	   pg_typeof(decrypt_as(encrypt('a@b', 'fn-pii'), NULL::email)),
	   decrypt_as(encrypt(ARRAY[1, 2], 'fn-pii'), NULL::int[]) AS int_array,
	   decrypt_as(encrypt('x', 'fn-pii'), 'only the type counts'::text) AS text,
	   decrypt_as(encrypt('1.239', 'fn-pii'), NULL::numeric(3,1)) AS modifier_ignored,
	   decrypt_as(encrypt('1.239', 'fn-pii'), NULL::numeric)::numeric(3,1) AS modifier_by_cast;
SELECT decrypt_as(encrypt('nobody', 'fn-pii'), NULL::email);
SELECT encrypt(ROW(1, 2), 'fn-pii');
SELECT decrypt_as(encrypt('(1,2)', 'fn-pii'), NULL::record);
SELECT decrypt_as(encrypt('1', 'fn-pii'), NULL);

-- bytes have functions of their own, and so have domains over them
CREATE DOMAIN photo AS bytea;
SELECT encrypt('\x01'::bytea, 'fn-pii');
SELECT encrypt('\x01'::photo, 'fn-pii');
SELECT encrypt_bound('\x01'::bytea, 'fn-pii', 'c');
SELECT decrypt_as(encrypt('1', 'fn-pii'), NULL::bytea);
SELECT decrypt_as(encrypt('1', 'fn-pii'), NULL::photo);
SELECT encrypt(encrypt('twice', 'fn-pii'), 'fn-pii');
SELECT decrypt_bytea(encrypt_bytea('\x00ff00', 'fn-pii')),
	   decrypt_bytea(encrypt_bytea('\x00ff00'::photo, 'fn-pii', 'ctx'), 'ctx'),
	   decrypt_bytea(encrypt('text', 'fn-pii')),
	   decrypt(encrypt_bytea('text', 'fn-pii'));
SELECT decrypt(encrypt_bytea('\x00', 'fn-pii'));

-- ---- lengths: overhead is 52 and 28, whatever the length
SELECT k.key, l.len, octet_length(e::bytea) - l.len AS overhead, pg_column_size(e) - octet_length(e::bytea) AS varlena,
	   decrypt(e) = repeat('x', l.len) AS equal, (enc_info(e)).plaintext_bytes
FROM (VALUES ('fn-pii'), ('fn-det')) k(key),
	 (VALUES (0), (1), (2), (15), (16), (17), (73), (74), (75), (97), (98), (99), (125), (126), (127), (128),
			 (4096), (1048576)) l(len),
	 LATERAL encrypt(repeat('x', l.len), k.key) e
ORDER BY 1, 2;
SELECT k.key, octet_length(e::bytea) AS bytes_with_context
FROM (VALUES ('fn-pii'), ('fn-det')) k(key), LATERAL encrypt_bound('', k.key, 'context') e
ORDER BY 1;
SELECT count(*) AS lengths, bool_and(decrypt(e) = p AND octet_length(e::bytea) = octet_length(p) + 52) AS equal
FROM generate_series(0, 600) n, LATERAL repeat('é', n) p, LATERAL encrypt(p, 'fn-pii') e;

-- a randomized key never gives the same value, a searchable one always does
SELECT k, count(DISTINCT encrypt('same', k)) FROM unnest('{fn-pii,fn-det}'::text[]) k, generate_series(1, 100)
GROUP BY k ORDER BY k;
SELECT encrypt('same', 'fn-det') = encrypt('same'::char(9), 'fn-det') AS same_text,
	   encrypt('1', 'fn-det') = encrypt(1, 'fn-det') AS same_number,
	   encrypt('1.0', 'fn-det') = encrypt(1, 'fn-det') AS other_text,
	   encrypt_bound('same', 'fn-det', 'a') = encrypt_bound('same', 'fn-det', 'b') AS other_context;

-- ---- contexts
SELECT decrypt(encrypt_bound('v', 'fn-pii', 'Größe/日本'), 'Größe/日本'),
	   decrypt(encrypt_bound(42, 'fn-pii', 'c'), 'c'),
	   decrypt_as(encrypt_bound(42, 'fn-pii', 'c'), NULL::int, 'c'),
	   decrypt_bytea(encrypt_bound('v', 'fn-det', 'c'), 'c'),
	   try_decrypt(encrypt_bound('v', 'fn-pii', 'c'), 'c'),
	   try_decrypt(encrypt_bound('v', 'fn-pii', 'c'), 'C') AS other,
	   decrypt(encrypt_bound('', 'fn-det', 'c'), 'c') AS empty;
SELECT decrypt(encrypt_bound('v', 'fn-pii', 'c'), 'C');
SELECT decrypt(encrypt_bound('v', 'fn-pii', 'c'), 'c ');
SELECT decrypt(encrypt_bound('v', 'fn-pii', 'c'));
SELECT decrypt(encrypt('v', 'fn-pii'), 'c');
SELECT decrypt(encrypt_bound('v', 'fn-pii', 'c'), NULL);
SELECT decrypt(encrypt_bound('v', 'fn-pii', 'c'), '');
SELECT decrypt_bytea(encrypt('v', 'fn-pii'), NULL);
SELECT decrypt_as(encrypt('1', 'fn-pii'), NULL::int, NULL);
SELECT try_decrypt(encrypt('v', 'fn-pii'), NULL);
SELECT try_decrypt(encrypt_bound('v', 'fn-pii', 'c'));
SELECT encrypt_bound('v', 'fn-pii', NULL);
SELECT encrypt_bound('v', 'fn-pii', '');
SELECT encrypt_bound(1, 'fn-pii', NULL);
SELECT encrypt_bytea('v', 'fn-pii', NULL);
SELECT search_terms('v', 'fn-det', NULL);

SELECT enc_context('customer', '42'), enc_context('é', ''), enc_context(VARIADIC ARRAY['1:a,', 'b']);
SELECT enc_context('a,1:b', 'c') = enc_context('a', 'b', 'c') AS ambiguous;
-- parts of other types, as their canonical text, whatever the session's settings
SET datestyle = 'SQL, DMY';
SELECT enc_context('customer', 42), enc_context(42) = enc_context('42') AS same,
	   enc_context(DATE '2026-12-24', true, 'ab'::char(5), 1.50, '\x00ff'::bytea) AS typed;
RESET datestyle;
SELECT enc_context(1, NULL::int);
SELECT enc_context(VARIADIC ARRAY[1, 2]);
SELECT enc_context('a', NULL);
SELECT enc_context(NULL);
SELECT enc_context(VARIADIC '{}'::text[]);
SELECT enc_context(VARIADIC NULL::text[]);

-- ---- NULL: a NULL value is NULL first of all, then NULL arguments are refused
SELECT encrypt(NULL, NULL) IS NULL AND encrypt(NULL::int, NULL) IS NULL
	   AND encrypt(NULL::bytea, NULL) IS NULL AND encrypt(NULL, 'no such key') IS NULL
	   AND encrypt_bound(NULL, NULL, NULL) IS NULL AND encrypt_bound(NULL::date, NULL, '') IS NULL
	   AND encrypt_bytea(NULL, NULL) IS NULL AND encrypt_bytea(NULL, NULL, NULL) IS NULL
	   AND decrypt(NULL) IS NULL AND decrypt(NULL, NULL) IS NULL
	   AND decrypt_bytea(NULL) IS NULL AND decrypt_bytea(NULL, '') IS NULL
	   AND decrypt_as(NULL, NULL::date) IS NULL AND decrypt_as(NULL, NULL::date, NULL) IS NULL
	   AND decrypt_as(NULL, NULL::bytea) IS NULL
	   AND try_decrypt(NULL) IS NULL AND try_decrypt(NULL, NULL) IS NULL
	   AND search_terms(NULL, NULL) IS NULL AND search_terms(NULL, NULL, NULL) IS NULL
	   AND enc_info(NULL) IS NULL AND has_key_privilege(NULL, 'any') IS NULL AS all_null;
SELECT encrypt('v', NULL);
SELECT encrypt(1, NULL);
SELECT encrypt_bound('v', NULL, NULL);
SELECT encrypt_bytea('v', NULL);
SELECT search_terms('v', NULL);

-- ---- which overload: literals, parameters, named arguments
PREPARE e AS SELECT encrypt($1, $2);
PREPARE eb AS SELECT encrypt_bound($1, $2, $3);
PREPARE ey AS SELECT encrypt_bytea($1, $2);
PREPARE d AS SELECT decrypt($1);
PREPARE db AS SELECT decrypt($1, $2);
PREPARE da AS SELECT decrypt_as($1, NULL::date, $2);
PREPARE st AS SELECT search_terms($1, $2);
PREPARE ei(int, text) AS SELECT decrypt_as(encrypt($1, $2), $1);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
EXECUTE ei(7, 'fn-pii');
DEALLOCATE ALL;
SELECT decrypt(value => encrypt(plaintext => 'n', key => 'fn-pii')) AS text,
	   decrypt(value => encrypt(value => 5, key => 'fn-pii')) AS typed,
	   decrypt(context => 'c', value => encrypt_bound('n', context => 'c', key => 'fn-pii')) AS bound;
SELECT encrypt('a', 'b', 'aes');
SELECT encrypt('a');
SELECT decrypt('not an envelope');

-- ---- try_decrypt
SELECT encrypt('v', 'fn-pii') AS good \gset
SELECT try_decrypt(:'good') AS good,
	   try_decrypt(raw_envelope('nonsense')) AS malformed,
	   try_decrypt(raw_envelope('')) AS empty,
	   try_decrypt(set_byte(:'good'::bytea, 52, get_byte(:'good'::bytea, 52) # 1)::enc_bytea) AS modified,
	   try_decrypt(envelope('01', '00', '\x0102030405060708', 40)) AS unknown_key,
	   try_decrypt(envelope('03', '00', kvid_of('fn-pii'), 16)) AS other_suite;
SELECT try_decrypt(envelope('02', '00', '\x0102030405060708', 72));
SELECT try_decrypt(encrypt_bytea('\xff', 'fn-pii'));

-- ---- search_terms
CREATE TABLE term AS SELECT encrypt('a@b', 'fn-det') v;
SELECT array_length(search_terms('a@b', 'fn-det'), 1) AS terms, pg_typeof(search_terms('a@b', 'fn-det')),
	   v = ANY (search_terms('a@b', 'fn-det')) AS found, v = ANY (search_terms('b@a', 'fn-det')) AS other,
	   v = ANY (search_terms('a@b', 'fn-det', 'c')) AS with_context,
	   encrypt_bound('a@b', 'fn-det', 'c') = ANY (search_terms('a@b', 'fn-det', 'c')) AS bound
FROM term;
SELECT search_terms('a@b', 'fn-pii');
SELECT search_terms('a@b', 'fn-none');

-- ---- enc_info: needs no privilege, says nothing that is not in the header
SET ROLE regress_envcrypt_fn_none;
SELECT * FROM enc_info(:'good');
RESET ROLE;
SELECT i.* FROM enc_info(encrypt_bound('four', 'fn-det', 'c')) i;
SELECT s.suite, s.flags, i.* FROM (VALUES ('01', '00', 40 + 7), ('01', '02', 40 + 7), ('02', '01', 72 + 7), ('03', '03', 16 + 7),
	('04', '00', 24 + 16 + 7), ('04', '00', 24 + 16400 + 16 + 7), ('05', '00', 28 + 7)) s(suite, flags, body),
	LATERAL enc_info(envelope(s.suite, s.flags, '\x0102030405060708', s.body)) i;
SELECT enc_info(raw_envelope('\xec'));

-- ---- privileges and views
CREATE FUNCTION held() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
	SELECT string_agg(k || ':' || p, ' ' ORDER BY k, p) FROM unnest('{fn-pii,fn-det}'::text[]) k,
		   unnest('{encrypt,decrypt,search,manage,any}'::text[]) p
	WHERE has_key_privilege(k, p) $$;
SELECT held() AS superuser;
SELECT grant_key('fn-pii', 'regress_envcrypt_fn', '{decrypt}'), grant_key('fn-det', 'regress_envcrypt_fn', '{encrypt}');
SET ROLE regress_envcrypt_fn;
SELECT held() AS granted;
SELECT decrypt(:'good') AS may_decrypt;
SELECT encrypt('v', 'fn-pii');
SELECT encrypt('v', 'fn-det') IS NOT NULL AS may_encrypt, array_length(search_terms('v', 'fn-det'), 1) AS may_search;
SELECT decrypt(encrypt('v', 'fn-det'));
SELECT try_decrypt(encrypt('v', 'fn-det'));
SELECT name, algorithm, enabled, root_keys, label FROM keys WHERE name LIKE 'fn-%' ORDER BY name;
SELECT key, number, state, compromised, octet_length(kvid) AS kvid, algorithm, wraps FROM key_versions
WHERE key LIKE 'fn-%' ORDER BY key, number;
SELECT key, grantee, privileges, active FROM grants WHERE key LIKE 'fn-%' ORDER BY key, grantee;
SELECT action FROM audit WHERE key LIKE 'fn-%';
SELECT * FROM envcrypt.key;
SET ROLE regress_envcrypt_fn_none;
SELECT held() AS nothing, has_key_privilege('fn-none', 'any'), has_key_privilege('not a name', 'decrypt');
SELECT has_key_privilege('fn-pii', 'read');
SELECT count(*) FROM keys WHERE name LIKE 'fn-%';
SELECT encrypt('v', 'fn-pii');
SELECT decrypt(:'good');
SELECT try_decrypt(:'good');
SELECT search_terms('v', 'fn-det');
SET ROLE regress_envcrypt_fn_monitor;
SELECT name FROM keys WHERE name LIKE 'fn-%' ORDER BY name;
SELECT count(*) FROM audit WHERE key LIKE 'fn-%';
RESET ROLE;
SELECT action, key, detail FROM audit WHERE key LIKE 'fn-%' ORDER BY at, key COLLATE "C";
-- by membership, by public
GRANT regress_envcrypt_fn TO regress_envcrypt_fn_none;
SET ROLE regress_envcrypt_fn_none;
SELECT held() AS by_membership;
RESET ROLE;
REVOKE regress_envcrypt_fn FROM regress_envcrypt_fn_none;
SET ROLE regress_envcrypt_fn_none;
SELECT held() AS membership_gone;
RESET ROLE;
SELECT grant_key('fn-det', 'public', '{search}');
SET ROLE regress_envcrypt_fn_none;
SELECT held() AS by_public;
RESET ROLE;
SELECT revoke_key('fn-det', 'public'), revoke_key('fn-pii', 'regress_envcrypt_fn', '{encrypt,decrypt}'),
	   revoke_key('fn-det', 'regress_envcrypt_fn');
SELECT key, grantee, privileges, active FROM grants WHERE key LIKE 'fn-%' ORDER BY key, grantee;
SET ROLE regress_envcrypt_fn;
SELECT held() AS revoked;
RESET ROLE;

-- a view does not pass its owner's rights on, a SECURITY DEFINER function does
CREATE VIEW owned AS SELECT decrypt(v) FROM term;
CREATE FUNCTION passed_on(enc_bytea) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp AS $$ SELECT envcrypt.decrypt($1) $$;
GRANT SELECT ON owned, term TO regress_envcrypt_fn;
SET ROLE regress_envcrypt_fn;
SELECT * FROM owned;
SELECT passed_on(v) FROM term;
RESET ROLE;

-- administration is not public
SET ROLE regress_envcrypt_fn;
SELECT create_key('fn-other');
RESET ROLE;
SELECT disable_key('fn-det');
SELECT decrypt(v) FROM term;
SELECT try_decrypt(v) FROM term;
SELECT search_terms('v', 'fn-det');
SELECT (enc_info(v)).state FROM term;
SELECT disable_key('fn-det'), enable_key('fn-det');
SELECT decrypt(v) FROM term;

SET client_min_messages = warning;
DROP SCHEMA fn CASCADE;
DROP ROLE regress_envcrypt_fn, regress_envcrypt_fn_none, regress_envcrypt_fn_monitor;
