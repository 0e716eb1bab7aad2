-- Values of every type: sealed under one set of settings, opened under
-- another, equal.  The list of types is the server's own.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
CREATE SCHEMA ty;
SET search_path = ty, envcrypt;
SET DateStyle = 'ISO, YMD';
SELECT create_key('ty'), create_key('ty-det', 'aes-256-siv');

-- ---- samples: of each base type of pg_catalog that has values of its own
CREATE TABLE sample (type regtype, literal text);
INSERT INTO sample VALUES
	('bool', 'true'), ('"char"', 'q'), ('name', 'some name'), ('int8', '-9223372036854775808'), ('int2', '-32768'),
	('int2vector', '1 -2 3'), ('int4', '2147483647'), ('regproc', 'pg_catalog.now'), ('text', E'a ''"\\ \t é 日本'), ('oid', '4294967295'),
	('tid', '(42,7)'), ('xid', '4294967295'), ('cid', '7'), ('oidvector', '1 2 4294967295'),
	('json', '{"a" : [1, null], "d": "2021-03-04"}'), ('jsonb', '{"a": [1, null, 1.50], "é": "\u65e5"}'),
	('xml', '<a b="c">é</a>text'), ('xid8', '18446744073709551615'),
	('point', '(0.1,-1e-300)'), ('lseg', '[(0.1,0.2),(0.3,1e300)]'), ('path', '((0.1,0.2),(3,4))'), ('path', '[(0.1,0.2),(3,4)]'), ('box', '(3,4),(0.1,0.2)'),
	('polygon', '((0.1,0.2),(3,4),(5,0))'), ('line', '{0.1,-1,0.3}'), ('circle', '<(0.1,0.2),0.30000000000000004>'),
	('float4', '0.1'), ('float4', '3.4028235e38'), ('float8', '0.1'), ('float8', '0.30000000000000004'), ('float8', '5e-324'),
	('float8', 'NaN'), ('float8', '-Infinity'), ('float8', '-0'),
	('money', '-1234567.89'), ('macaddr', '08:00:2b:01:02:03'), ('macaddr8', '08:00:2b:01:02:03:04:05'),
	('inet', '10.1.2.3/8'), ('inet', '2001:db8::1'), ('cidr', '10.1.0.0/16'),
	('aclitem', 'pg_monitor=r/pg_monitor'), ('bpchar', 'blank   '), ('varchar', 'trailing   '),
	('date', '2021-03-04'), ('date', '0044-03-15 BC'), ('date', 'infinity'), ('time', '04:05:06.789012'), ('time', '24:00:00'),
	('timestamp', '2021-03-04 05:06:07.000001'), ('timestamp', '4713-11-24 00:00:00 BC'), ('timestamp', '-infinity'),
	('timestamptz', '2021-03-04 05:06:07.5+09'), ('timestamptz', '1883-11-18 12:00:00+00'), ('timestamptz', 'infinity'),
	('interval', '-1 year -2 months +3 days -04:05:06.789'), ('interval', '1 mon -1 day 00:00:00.000001'), ('interval', '00:00:00'),
	('timetz', '04:05:06.789-08:30'), ('bit', '101'), ('varbit', '10101'), ('numeric', '-123456789012345678901234567890.1234567890'),
	('numeric', 'NaN'), ('numeric', '1.50'), ('refcursor', 'a cursor'), ('regprocedure', 'pg_catalog.lower(text)'), ('regoper', 'pg_catalog.||/'),
	('regoperator', 'pg_catalog.+(integer,integer)'), ('regclass', 'ty.sample'), ('regcollation', 'pg_catalog."C"'), ('regtype', 'ty.sample'),
	('regconfig', 'pg_catalog.simple'), ('regdictionary', 'pg_catalog.simple'), ('regnamespace', 'ty'), ('regrole', 'pg_monitor'),
	('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), ('pg_lsn', 'FFFFFFFF/FFFFFFFF'),
	('tsvector', '''a'':1A,2 ''b c'':3B'), ('tsquery', '''a'' & !( ''b'':* | ''c'' )'), ('jsonpath', '$."a"[*]?(@ > 1.50)'),
	('txid_snapshot', '10:20:10,14'), ('pg_snapshot', '10:20:10,14'),
	('int4range', '[1,10)'), ('int8range', '(,5)'), ('numrange', '[1.50,2.5]'), ('tsrange', '["2021-03-04 05:06:07","2022-01-01 00:00:00")'),
	('tstzrange', '["2021-03-04 05:06:07+09",)'), ('daterange', '[2021-03-04,2021-04-03)'),
	('int4multirange', '{[1,3),[5,9)}'), ('int8multirange', '{}'), ('nummultirange', '{[0.1,0.2],(5,)}'), ('tsmultirange', '{["2021-03-04 05:06:07","2022-01-01 00:00:00")}'),
	('tstzmultirange', '{["2021-03-04 05:06:07+09","2022-01-01 00:00:00+00")}'), ('datemultirange', '{[2021-03-04,2021-04-03)}');

-- What is left out, and why; a type that a later server adds shows up here.
SELECT CASE WHEN t.oid = 'bytea'::regtype THEN 'bytes have encrypt_bytea()'
			WHEN t.typinput::text ~ '^(pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|brin_|gtsv)' THEN 'accepts no input'
			ELSE 'NO SAMPLE' END AS why,
	   string_agg(t.oid::regtype::text, ', ' ORDER BY t.typname) AS types
FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND t.typcategory <> 'A'
  AND t.oid NOT IN (SELECT type FROM sample)
GROUP BY 1 ORDER BY 1;

-- ---- one column for each sample, and types of users' making
CREATE TYPE mood AS ENUM ('sad', 'it''s "fine"');
CREATE DOMAIN birthday AS date CHECK (VALUE > '1900-01-01');
CREATE DOMAIN days AS date[];
CREATE TYPE person AS (name text, born date, seen timestamptz, moods mood[], photo bytea, at interval);
CREATE TYPE spans AS RANGE (subtype = timestamptz);
CREATE TYPE family AS (head person, members person[], since spans);
INSERT INTO sample VALUES ('mood', 'it''s "fine"'), ('birthday', '2001-02-03'), ('days', '{2001-02-03,NULL,2003-04-05}'),
	('person', '("Ann ""A"", (x)",2001-02-03,"2021-03-04 05:06:07+09","{sad,NULL}","\\x0102","1 mon")'), ('spans', '["2021-03-04 05:06:07+09",)'),
	('spans_multirange', '{["2021-03-04 05:06:07+09",)}'),
	('bytea[]', '{"\\x00ff",NULL}'), ('date[]', '[2:3]={2001-02-03,NULL}');
INSERT INTO sample SELECT 'family', ROW(p::person, ARRAY[p::person, NULL], '["2021-03-04 05:06:07+09",)'::spans)::family::text
FROM (SELECT literal FROM sample WHERE type = 'person'::regtype) s(p);
-- arrays of each
INSERT INTO sample
SELECT t.typarray, ARRAY[s.literal, NULL, s.literal]::text[]::text
FROM sample s JOIN pg_type t ON t.oid = s.type WHERE t.typarray <> 0 AND t.oid NOT IN ('money'::regtype, 'box'::regtype);
INSERT INTO sample VALUES ('money[]', '{-1.50,NULL}'), ('box[]', '{(3,4),(1,2);(3,4),(0.1,0.2)}');
SELECT count(*) AS samples, count(DISTINCT type) AS types FROM sample;

-- Each sample: its value, kept as itself, and its envelopes: plain, bound and
-- searchable, the last of which shows that the sealed text is the same too.
-- "char" alone is ambiguous: it is cast to text as easily as to anyelement
CREATE TABLE held (n int PRIMARY KEY, type regtype, rel regclass,
	as_text text GENERATED ALWAYS AS (CASE WHEN type = '"char"'::regtype THEN '::text' ELSE '' END) STORED);
DO $do$
DECLARE
	s record; n int := 0;
BEGIN
	SET LOCAL TimeZone = 'UTC'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL lc_monetary = 'C';
	FOR s IN SELECT * FROM sample LOOP
		n := n + 1;
		EXECUTE format('CREATE TABLE v%s (v %s, e enc_bytea, b enc_bytea, d enc_bytea)', n, s.type);
		EXECUTE format('INSERT INTO v%s VALUES (%L::%s)', n, s.literal, s.type);
		INSERT INTO held VALUES (n, s.type, format('v%s', n)::regclass);
	END LOOP;
END $do$;

CREATE FUNCTION use_settings(a bool) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('DateStyle', CASE WHEN a THEN 'SQL, DMY' ELSE 'Postgres, MDY' END, false),
		   set_config('TimeZone', CASE WHEN a THEN 'Asia/Tokyo' ELSE 'UTC' END, false),
		   set_config('IntervalStyle', CASE WHEN a THEN 'postgres_verbose' ELSE 'sql_standard' END, false),
		   set_config('extra_float_digits', CASE WHEN a THEN '-15' ELSE '3' END, false),
		   set_config('bytea_output', CASE WHEN a THEN 'escape' ELSE 'hex' END, false),
		   set_config('xmloption', CASE WHEN a THEN 'document' ELSE 'content' END, false),
		   set_config('search_path', CASE WHEN a THEN 'ty, envcrypt' ELSE 'envcrypt, ty, pg_catalog' END, false); $$;
-- A locale with another sign and other points, where the system has one.
CREATE FUNCTION use_money(choices text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c text;
BEGIN
	FOREACH c IN ARRAY choices LOOP
		BEGIN
			PERFORM set_config('lc_monetary', c, false);
			RETURN;
		EXCEPTION WHEN invalid_parameter_value THEN NULL;
		END;
	END LOOP;
END $$;
CREATE VIEW current_settings AS
	SELECT string_agg(name || '=' || current_setting(name), ' ' ORDER BY name) AS settings
	FROM unnest('{DateStyle,TimeZone,IntervalStyle,extra_float_digits,bytea_output,xmloption,search_path}'::text[]) name;
-- the settings matter: texts of the same values under both
CREATE VIEW texts AS SELECT DATE '2021-03-04' AS date, TIMESTAMPTZ '2021-03-04 05:06:07+09' AS timestamptz,
	INTERVAL '-1 year -2 mons 3 days' AS interval, 0.1::float8 + 0.2::float8 AS float8, '\x00'::bytea AS bytea;

SELECT use_settings(true);
SELECT use_money('{de_DE.UTF-8,de_DE.utf8,de_DE,C}');
SELECT * FROM current_settings;
SELECT * FROM texts;
DO $do$
DECLARE
	h record;
BEGIN
	FOR h IN SELECT * FROM held LOOP
		EXECUTE format('UPDATE %s SET e = encrypt(v%s, %L), b = encrypt_bound(v%2$s, %3$L, %L), d = encrypt(v%2$s, %5$L)',
			h.rel, h.as_text, 'ty', 'c', 'ty-det');
	END LOOP;
END $do$;
SELECT * FROM current_settings;
SELECT use_settings(false);
SELECT use_money('{en_US.UTF-8,en_US.utf8,en_US,C}');
SELECT * FROM current_settings;
SELECT * FROM texts;
CREATE FUNCTION reopened() RETURNS TABLE (equal text, types text) LANGUAGE plpgsql AS $$
DECLARE
	h record; ok bool; bad text[] := '{}'; good int := 0;
BEGIN
	FOR h IN SELECT * FROM held ORDER BY n LOOP
		BEGIN
			EXECUTE format('SELECT ROW(decrypt_as(e, v), decrypt_as(b, v, %L), d)::record *= ROW(v, v, encrypt(v%s, %L))::record FROM %s',
				'c', h.as_text, 'ty-det', h.rel) INTO ok;
		EXCEPTION WHEN OTHERS THEN
			bad := bad || (h.type::text || ' ' || SQLSTATE);
			CONTINUE;
		END;
		IF ok THEN good := good + 1; ELSE bad := bad || h.type::text; END IF;
	END LOOP;
	RETURN QUERY SELECT CASE good WHEN (SELECT count(*) FROM held) THEN 'all' ELSE good::text END, array_to_string(bad, ', ');
END $$;
SELECT * FROM reopened();
SELECT * FROM current_settings;
SELECT count(*) AS held FROM held;
-- and the other way: these settings seal, the first ones open
DO $do$
DECLARE
	h record;
BEGIN
	FOR h IN SELECT * FROM held LOOP
		EXECUTE format('UPDATE %s SET e = encrypt(v%s, %L), b = encrypt_bound(v%2$s, %3$L, %L)', h.rel, h.as_text, 'ty', 'c');
	END LOOP;
END $do$;
SELECT use_settings(true);
SELECT * FROM reopened();
SELECT decrypt(encrypt(t.timestamptz, 'ty')), decrypt(encrypt(t.date, 'ty')), decrypt(encrypt(t.interval, 'ty')),
	   decrypt(encrypt(t.float8, 'ty')), decrypt(encrypt(ARRAY[t.bytea], 'ty'))
FROM texts t;

-- pseudo types: a row needs a type of its own
SELECT decrypt(encrypt(ROW(1, DATE '2021-03-04'), 'ty'));

-- ---- errors: no value, settings as they were, also within the transaction
CREATE FUNCTION raises(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d text; h text; c text;
BEGIN
	EXECUTE stmt;
	RETURN 'no error';
EXCEPTION WHEN OTHERS OR query_canceled THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, c = PG_EXCEPTION_CONTEXT;
	RETURN SQLSTATE || ' | ' || SQLERRM || d || h ||
		CASE WHEN c ~ 'canary' AND stmt !~ 'canary' THEN ' | CANARY IN CONTEXT' ELSE '' END;
END $$;
-- sealed beforehand, so that the value is nowhere in the statement that fails
CREATE TABLE bad (type regtype, e enc_bytea);
INSERT INTO bad SELECT t::regtype, encrypt(v, 'ty') FROM (VALUES
	('date', 'canary'), ('int', '12canary'), ('numeric', 'canary'), ('bool', 'canary'), ('uuid', 'canary'), ('inet', 'canary'),
	('json', '{"canary": x}'), ('jsonb', '{"canary": x}'), ('xml', '<canary'), ('timestamptz', '2021-13-13 canary'), ('interval', 'canary'),
	('float8', 'canary'), ('float8', '1e999'), ('int2', '99999'), ('regclass', 'canary'), ('regrole', 'canary'), ('ty.mood', 'canary'), ('ty.birthday', '1800-01-01'),
	('ty.person', '(canary)'), ('int[]', '{1,canary}'), ('int4range', '[canary,)'), ('ty.spans_multirange', '{canary}'), ('point', 'canary'),
	('"char"[]', 'canary'), ('tsquery', 'canary &'), ('jsonpath', 'canary ?'), ('macaddr', 'canary'), ('bit', 'canary'), ('pg_lsn', 'canary'), ('money', 'canary')) x(t, v);
SELECT type, raises(format('SELECT decrypt_as(%L, NULL::%s)', e, type)) FROM bad;
SELECT raises(format('SELECT decrypt_as(%L, NULL::date, %L)', encrypt_bound('canary', 'ty', 'c'), 'c'));
SELECT * FROM current_settings;
BEGIN;
SAVEPOINT s;
SELECT decrypt_as(encrypt('not a date', 'ty'), NULL::date);
ROLLBACK TO s;
SELECT * FROM current_settings;
COMMIT;
SELECT decrypt_as(encrypt('notadate', 'ty'), NULL::date);

-- a type whose own function fails or takes its time: a domain that sleeps
CREATE FUNCTION slow(text) RETURNS bool LANGUAGE plpgsql STRICT AS $$ BEGIN PERFORM pg_catalog.pg_sleep(60); RETURN true; END $$;
CREATE DOMAIN slowly AS text CHECK (slow(VALUE));
CREATE FUNCTION busy(text) RETURNS bool LANGUAGE plpgsql STRICT AS $$ BEGIN RAISE insufficient_resources USING MESSAGE = 'no more'; END $$;
CREATE DOMAIN greedy AS text CHECK (busy(VALUE));
CREATE FUNCTION loud(text) RETURNS bool LANGUAGE plpgsql STRICT AS $$ BEGIN RAISE 'canary %', $1; END $$;
CREATE DOMAIN loudly AS text CHECK (loud(VALUE));
SET statement_timeout = '100ms';
SELECT raises(format('SELECT decrypt_as(%L, NULL::slowly)', encrypt('v', 'ty')));
RESET statement_timeout;
SELECT * FROM current_settings;
SELECT raises(format('SELECT decrypt_as(%L, NULL::greedy)', encrypt('v', 'ty')));
SELECT raises(format('SELECT decrypt_as(%L, NULL::loudly)', encrypt('v', 'ty')));
SELECT * FROM current_settings;

RESET ALL;
SET client_min_messages = warning;
DROP SCHEMA ty CASCADE;
