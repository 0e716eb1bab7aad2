-- envcrypt at work: in everything SQL has for columns, queries and plans.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
RESET client_min_messages;
CREATE SCHEMA us;
GRANT USAGE ON SCHEMA us TO PUBLIC;
SET search_path = us, envcrypt;
SELECT create_key('us-pii'), create_key('us-det', 'aes-256-siv');
CREATE ROLE regress_envcrypt_us;
SELECT grant_key('us-pii', 'regress_envcrypt_us'), grant_key('us-det', 'regress_envcrypt_us');

-- ---- defaults, a trigger of one's own, RETURNING
CREATE TABLE note (
	id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	author enc_bytea DEFAULT encrypt(current_user, 'us-pii'),
	body enc_bytea NOT NULL
);
INSERT INTO note (body) VALUES (encrypt('first', 'us-pii')) RETURNING id, decrypt(author) = current_user AS author, decrypt(body);
CREATE FUNCTION seal_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.body := envcrypt.encrypt_bound(upper(envcrypt.decrypt(NEW.body)), 'us-pii', envcrypt.enc_context('note', NEW.id::text));
	RETURN NEW;
END $$;
CREATE TRIGGER seal_again BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION seal_again();
UPDATE note SET body = encrypt('second', 'us-pii') RETURNING decrypt(body, enc_context('note', id::text));
\set VERBOSITY sqlstate
INSERT INTO note (body) VALUES (NULL);
\set VERBOSITY default
DELETE FROM note RETURNING decrypt(body, enc_context('note', id::text));

-- ---- a table, its view, and INSTEAD OF triggers that write through it
CREATE TABLE customer (
	id int PRIMARY KEY,
	email enc_bytea(deterministic) UNIQUE,
	phone enc_bytea,
	born enc_bytea,
	tenant int NOT NULL
);
INSERT INTO customer SELECT n, encrypt('user' || n || '@example.org', 'us-det'),
	encrypt_bound('555-' || n, 'us-pii', enc_context('customer', n::text)), encrypt(DATE '2000-01-01' + n, 'us-pii'), n % 4
FROM generate_series(1, 4000) n;
ANALYZE customer;
CREATE VIEW people WITH (security_invoker) AS
	SELECT id, decrypt(email) AS email, decrypt(phone, enc_context('customer', id::text)) AS phone,
		   decrypt_as(born, NULL::date) AS born, tenant FROM customer;
SELECT * FROM people WHERE id IN (1, 2, 4000) ORDER BY id;
SELECT count(*), min(born), max(born), count(DISTINCT phone) FROM people;
CREATE FUNCTION people_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO us.customer VALUES (NEW.id, envcrypt.encrypt(NEW.email, 'us-det'),
		envcrypt.encrypt_bound(NEW.phone, 'us-pii', envcrypt.enc_context('customer', NEW.id::text)),
		envcrypt.encrypt(NEW.born, 'us-pii'), NEW.tenant);
	RETURN NEW;
END $$;
CREATE TRIGGER people_write INSTEAD OF INSERT ON people FOR EACH ROW EXECUTE FUNCTION people_write();
INSERT INTO people VALUES (5001, 'view@example.org', '1', '1990-05-05', 1);
SELECT * FROM people WHERE id = 5001;

-- ---- looking up: the index is used, by literals and by parameters
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM customer WHERE email = ANY (search_terms('user7@example.org', 'us-det'));
SELECT id FROM customer WHERE email = ANY (search_terms('user7@example.org', 'us-det'));
RESET enable_seqscan;
EXPLAIN (COSTS OFF) SELECT id FROM customer WHERE email = ANY (search_terms('user7@example.org', 'us-det'));
SET enable_bitmapscan = off;
PREPARE look_up(text) AS SELECT id, decrypt(phone, enc_context('customer', id::text)) FROM customer
	WHERE email = ANY (search_terms($1, 'us-det'));
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE look_up('user8@example.org');
EXECUTE look_up('user8@example.org');
SET plan_cache_mode = force_custom_plan;
EXECUTE look_up('user8@example.org');
RESET plan_cache_mode;
-- many times over: the plan becomes generic by itself
EXECUTE look_up('user1@example.org'); EXECUTE look_up('user2@example.org'); EXECUTE look_up('user3@example.org');
EXECUTE look_up('user4@example.org'); EXECUTE look_up('user5@example.org'); EXECUTE look_up('user6@example.org');
SELECT name, generic_plans > 0 AS generic, custom_plans > 0 AS custom FROM pg_prepared_statements;
DEALLOCATE look_up;
EXPLAIN (COSTS OFF) SELECT c.id FROM (VALUES ('user9@example.org'), ('nobody@example.org')) x(email)
	JOIN customer c ON c.email = ANY (search_terms(x.email, 'us-det'));
SELECT c.id FROM (VALUES ('user9@example.org'), ('nobody@example.org')) x(email)
	JOIN customer c ON c.email = ANY (search_terms(x.email, 'us-det'));
RESET enable_bitmapscan;

-- nor does it take the search_path: the operators are in pg_catalog
SET search_path = us;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM customer WHERE email = ANY (envcrypt.search_terms('user7@example.org', 'us-det'));
SELECT id FROM customer WHERE email = ANY (envcrypt.search_terms('user7@example.org', 'us-det'));
SELECT count(*) = 4001 AS all_ordered FROM (SELECT email FROM customer WHERE email <> ALL (envcrypt.search_terms('none', 'us-det')) ORDER BY email) x;
RESET enable_seqscan;
SET search_path = us, envcrypt;

-- ---- EXPLAIN shows what was written, never what was opened
CREATE TABLE plan_line (line text);
DO $do$
DECLARE
	e text := encrypt('canary', 'us-pii'); l text;
BEGIN
	FOR l IN EXECUTE format('EXPLAIN (VERBOSE, COSTS OFF) SELECT decrypt(%L), decrypt_as(%1$L, NULL::text), try_decrypt(%1$L) FROM customer WHERE decrypt(%1$L) <> email::text AND decrypt(%1$L) = %L', e, 'x') LOOP
		INSERT INTO plan_line VALUES (l);
	END LOOP;
END $do$;
SELECT count(*) > 2 AS planned, count(*) FILTER (WHERE line ~ 'decrypt') > 0 AS calls, count(*) FILTER (WHERE line ~ 'canary') AS plaintexts FROM plan_line;

-- ---- upsert on a searchable unique column, MERGE
INSERT INTO customer VALUES (9001, encrypt('user7@example.org', 'us-det'), NULL, NULL, 2)
	ON CONFLICT (email) DO UPDATE SET tenant = 99 RETURNING id, decrypt(email), tenant;
INSERT INTO customer VALUES (9001, encrypt('user7@example.org', 'us-det'), NULL, NULL, 2) ON CONFLICT DO NOTHING;
\set VERBOSITY sqlstate
INSERT INTO customer VALUES (9001, encrypt('user7@example.org', 'us-det'), NULL, NULL, 2);
\set VERBOSITY default
MERGE INTO customer c USING (VALUES ('user7@example.org', 7), ('merged@example.org', 8)) s(email, tenant)
	ON c.email = ANY (search_terms(s.email, 'us-det'))
	WHEN MATCHED THEN UPDATE SET tenant = s.tenant
	WHEN NOT MATCHED THEN INSERT (id, email, tenant) VALUES (9002, encrypt(s.email, 'us-det'), s.tenant);
SELECT id, decrypt(email), tenant FROM customer WHERE tenant IN (7, 8) ORDER BY id;

-- ---- GROUP BY, DISTINCT, UNION, joins, aggregates, window functions
CREATE TABLE visit (n int, city enc_bytea(deterministic));
INSERT INTO visit SELECT n, encrypt((ARRAY['Oslo', 'Rom', 'Kyiv'])[n % 3 + 1], 'us-det') FROM generate_series(1, 30) n;
SELECT decrypt(city), count(*) FROM visit GROUP BY city ORDER BY 1;
SELECT count(DISTINCT city) FROM visit;
SELECT count(*) FROM (SELECT city FROM visit UNION SELECT city FROM visit) x;
SELECT count(*) FROM visit a JOIN visit b USING (city) WHERE a.n <= 3 AND b.n <= 6;
SET enable_hashagg = off; SET enable_hashjoin = off;
SELECT decrypt(city), count(*) FROM visit GROUP BY city ORDER BY 1;
SELECT count(*) FROM visit a JOIN visit b USING (city) WHERE a.n <= 3 AND b.n <= 6;
RESET enable_hashagg; RESET enable_hashjoin;
SELECT string_agg(decrypt(city), ',' ORDER BY n), max(decrypt(city)) FROM visit WHERE n < 5;
SELECT n, decrypt(lag(city) OVER (ORDER BY n)) FROM visit WHERE n < 4 ORDER BY n;

-- ---- arrays
CREATE TABLE bag (v enc_bytea[]);
INSERT INTO bag SELECT array_agg(encrypt(n::text, 'us-pii') ORDER BY n) FROM generate_series(1, 5) n;
SELECT string_agg(decrypt(u.v), ',' ORDER BY n) FROM bag, unnest(bag.v) WITH ORDINALITY u(v, n);
SELECT decrypt(v[2]), array_length(v || encrypt('6', 'us-pii'), 1), v[1] = ANY (v) AS found FROM bag;
UPDATE bag SET v[2] = encrypt('two', 'us-pii');
SELECT decrypt(v[2]) FROM bag;
SELECT ARRAY[encrypt('a', 'us-det'), NULL] = ARRAY[encrypt('a', 'us-det'), NULL] AS equal;

-- ---- COPY: what goes out comes in again, in every format
CREATE TABLE copied (LIKE customer);
\set copy_file `mktemp -u /tmp/envcrypt-copy-XXXXXX`
CREATE FUNCTION round_trip(file text, options text, more text DEFAULT '') RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	same bool;
BEGIN
	TRUNCATE copied;
	EXECUTE format('COPY customer TO %L WITH (%s%s)', file, options, more);
	EXECUTE format('COPY copied FROM %L WITH (%s)', file, options);
	SELECT count(*) = 0 INTO same FROM (TABLE customer EXCEPT TABLE copied) x;
	RETURN same AND (SELECT count(*) FROM copied) = (SELECT count(*) FROM customer);
END $$;
SELECT round_trip(:'copy_file', 'FORMAT text') AS text, round_trip(:'copy_file', 'FORMAT csv, HEADER', ', FORCE_QUOTE *') AS csv,
	   round_trip(:'copy_file', 'FORMAT csv, NULL ''-''') AS csv_null, round_trip(:'copy_file', 'FORMAT binary') AS binary;
\! rm -f /tmp/envcrypt-copy-??????
COPY (SELECT decrypt(email) FROM customer WHERE id = 1) TO STDOUT;
COPY copied (id, email, tenant) FROM STDIN;
6000	plain@example.org	1
\.
COPY copied (id, phone, tenant) FROM STDIN WITH (FORMAT csv);
6000,"plain, text",1
\.

-- ---- cursors
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, decrypt(email) FROM customer WHERE id <= 5 ORDER BY id;
FETCH 2 FROM c; FETCH BACKWARD 1 FROM c; FETCH LAST FROM c; FETCH ABSOLUTE 3 FROM c;
DECLARE h CURSOR WITH HOLD FOR SELECT id, decrypt(email) FROM customer WHERE id <= 3 ORDER BY id;
DECLARE u CURSOR FOR SELECT * FROM customer WHERE id = 3 FOR UPDATE;
MOVE u;
UPDATE customer SET phone = encrypt('current', 'us-pii') WHERE CURRENT OF u;
COMMIT;
FETCH ALL FROM h;
CLOSE h;
SELECT decrypt(phone) FROM customer WHERE id = 3;

-- ---- PL/pgSQL: variables, loops, dynamic SQL, exceptions, procedures that commit
DO $do$
DECLARE
	r record; v envcrypt.enc_bytea; d envcrypt.enc_bytea(deterministic); t text := ''; n int := 0;
BEGIN
	v := encrypt('one', 'us-pii');
	d := encrypt('two', 'us-det');
	FOR r IN SELECT decrypt(email) AS email FROM customer WHERE id <= 3 ORDER BY id LOOP
		t := t || r.email || ' ';
	END LOOP;
	EXECUTE 'SELECT $1 || decrypt($2) || decrypt($3)' INTO t USING t, v, d;
	RAISE NOTICE '%', t;
	FOR i IN 1..1000 LOOP
		n := n + length(decrypt(encrypt(i::text, 'us-pii')));
	END LOOP;
	RAISE NOTICE '%', n;
	BEGIN
		d := v;
	EXCEPTION WHEN invalid_parameter_value THEN
		RAISE NOTICE 'refused: %', SQLERRM;
	END;
	RAISE NOTICE '% %', decrypt(v), decrypt(d);
END $do$;
CREATE PROCEDURE in_parts() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..3 LOOP
		UPDATE customer SET born = encrypt(decrypt_as(born, NULL::date) + i, 'us-pii') WHERE id = 10;
		COMMIT;
	END LOOP;
END $$;
CALL in_parts();
SELECT born FROM people WHERE id = 10;

-- ---- row security: hidden rows are not opened, and the index is still used
CREATE FUNCTION tell(text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
CREATE TABLE secret (id int, tenant int, email enc_bytea(deterministic), phone enc_bytea);
INSERT INTO secret SELECT id, tenant, email, phone FROM customer WHERE tenant < 4;
CREATE INDEX secret_email ON secret (email);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (tenant = current_setting('us.tenant')::int);
GRANT SELECT ON secret TO regress_envcrypt_us;
ANALYZE secret;
SET us.tenant = 1;
SET ROLE regress_envcrypt_us;
EXPLAIN (COSTS OFF) SELECT id FROM secret WHERE email = ANY (search_terms('user9@example.org', 'us-det'));
SELECT id FROM secret WHERE email = ANY (search_terms('user9@example.org', 'us-det'));
SELECT id FROM secret WHERE email = ANY (search_terms('user8@example.org', 'us-det'));
SELECT count(*) AS own FROM secret WHERE decrypt(email) LIKE 'user%';
SELECT id FROM secret WHERE tell(decrypt(email)) AND id IN (8, 9, 10);
RESET ROLE;

-- ---- hash partitions by a searchable value
CREATE TABLE part (email enc_bytea(deterministic) PRIMARY KEY, n int) PARTITION BY HASH (email);
CREATE TABLE part0 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE part1 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE part2 PARTITION OF part FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO part SELECT email, id FROM customer WHERE id <= 3000;
SELECT sum(c) AS rows, count(*) AS partitions, min(c) > 800 AS spread FROM (SELECT count(*) c FROM part GROUP BY tableoid) x;
SELECT n FROM part WHERE email = ANY (search_terms('user42@example.org', 'us-det'));
INSERT INTO part VALUES (encrypt('user42@example.org', 'us-det'), 0) ON CONFLICT (email) DO UPDATE SET n = -1 RETURNING n;
-- pruned at execution: one partition is read
CREATE FUNCTION partitions_read(stmt text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	l text; n int := 0;
BEGIN
	FOR l IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || stmt LOOP
		n := n + (l ~ 'Scan using part\d' AND l !~ 'never executed')::int;
	END LOOP;
	RETURN n;
END $$;
SET enable_bitmapscan = off; SET enable_seqscan = off;
SELECT partitions_read($$SELECT n FROM part WHERE email = (search_terms('user42@example.org', 'us-det'))[1]$$);
SELECT partitions_read($$SELECT n FROM part WHERE email = ANY (search_terms('user42@example.org', 'us-det'))$$) AS "by = ANY";
RESET enable_bitmapscan; RESET enable_seqscan;

-- ---- what would store plaintext is refused
CREATE TABLE g (v enc_bytea, p text GENERATED ALWAYS AS (decrypt(v)) STORED);
CREATE INDEX ON customer (decrypt(phone));
CREATE TABLE h (v enc_bytea) PARTITION BY LIST (decrypt(v));
-- by an IMMUTABLE wrapper too, where the server computes it for itself
CREATE FUNCTION lies(enc_bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN envcrypt.decrypt($1); END $$;
\set VERBOSITY terse
CREATE INDEX ON visit (lies(city));
CREATE INDEX CONCURRENTLY visit_lies ON visit (lies(city));
DROP INDEX visit_lies;
CREATE MATERIALIZED VIEW m AS SELECT decrypt(city) FROM visit;
CREATE MATERIALIZED VIEW m AS SELECT decrypt(city) FROM visit WITH NO DATA;
REFRESH MATERIALIZED VIEW m;
CREATE STATISTICS visit_stat ON lies(city), n FROM visit;
ANALYZE visit;
DROP STATISTICS visit_stat;
-- an index on an empty table can be made; its statistics and rebuilds are refused
CREATE TABLE empty (v enc_bytea);
CREATE INDEX empty_lies ON empty (lies(v));
INSERT INTO empty VALUES (encrypt('x', 'us-pii'));
ANALYZE empty;
REINDEX INDEX empty_lies;
-- only a superuser can allow it
SET ROLE regress_envcrypt_us;
SET envcrypt.allow_maintenance_decrypt = on;
RESET ROLE;
SET envcrypt.allow_maintenance_decrypt = on;
REFRESH MATERIALIZED VIEW m;
SELECT count(*), count(DISTINCT decrypt) FROM m;
ANALYZE empty;
REINDEX INDEX empty_lies;
RESET envcrypt.allow_maintenance_decrypt;
REFRESH MATERIALIZED VIEW m;
SELECT count(*) AS as_it_was FROM m;

-- ---- other objects
CREATE TYPE pair AS (a enc_bytea, b enc_bytea(deterministic));
CREATE DOMAIN sealed_email AS enc_bytea(deterministic) NOT NULL;
SELECT decrypt((ROW(encrypt('a', 'us-pii'), encrypt('b', 'us-det'))::pair).b), decrypt(encrypt('d', 'us-det')::sealed_email);
CREATE TABLE child () INHERITS (visit);
INSERT INTO child VALUES (31, encrypt('Riga', 'us-det'));
SELECT decrypt(city) FROM visit WHERE n > 30;
CREATE TABLE ctas AS SELECT n, city FROM visit;
SELECT attname, format_type(atttypid, atttypmod), attstorage FROM pg_attribute WHERE attrelid = 'ctas'::regclass AND attnum > 0;
ALTER TABLE ctas ALTER city TYPE text USING decrypt(city);
ALTER TABLE ctas ALTER city TYPE enc_bytea USING encrypt(city, 'us-pii');
SELECT count(*) FROM ctas WHERE decrypt(city) IN ('Oslo', 'Rom', 'Kyiv', 'Riga');
WITH RECURSIVE r(n, v) AS (SELECT 1, encrypt('x', 'us-pii') UNION ALL SELECT n + 1, encrypt(decrypt(v) || n, 'us-pii') FROM r WHERE n < 5)
SELECT decrypt(v) FROM r WHERE n = 5;
SELECT decrypt(v) FROM jsonb_to_record(jsonb_build_object('v', encrypt('in json', 'us-pii'))) AS x(v enc_bytea);

SET client_min_messages = warning;
DROP SCHEMA us CASCADE;
DROP ROLE regress_envcrypt_us;
