-- The type enc_bytea: input and output, modifier, casts, comparison, index and
-- hash support, statistics, the planner's guard.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
SET search_path = public, envcrypt;

-- What a statement raises, with its code; never the statement.
CREATE FUNCTION etype_try(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE stmt;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN pg_catalog.concat_ws(' | ', SQLSTATE, SQLERRM, NULLIF(hint, ''));
END $$;

-- Envelopes under a kvid nobody has: suite 03 ending in n, suite 01 the same.
CREATE FUNCTION etype_siv(n int) RETURNS enc_bytea LANGUAGE sql IMMUTABLE AS
	$$ SELECT ('\xec0300000102030405060708' || repeat('00', 16) || lpad(to_hex(n), 8, '0'))::enc_bytea $$;
CREATE FUNCTION etype_xaes(n int) RETURNS enc_bytea LANGUAGE sql IMMUTABLE AS
	$$ SELECT ('\xec0100000102030405060708' || repeat('00', 40) || lpad(to_hex(n), 8, '0'))::enc_bytea $$;

SELECT create_key('etype_random');
SELECT create_key('etype_det', 'aes-256-siv');

-- ---------- text input and output ----------

SELECT '\xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'::enc_bytea;
SELECT '\xEC03000001020304050607083FDCBCBC323BCE2AAF488CC76AB2C8B685'::enc_bytea;
SET bytea_output = escape;
SELECT '\xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'::enc_bytea;
RESET bytea_output;

-- whatever is refused, it is not shown
SELECT n, etype_try(format('SELECT %L::enc_bytea', v)) AS raised,
	   v <> '' AND position(v IN etype_try(format('SELECT %L::enc_bytea', v))) > 0 AS echoed
FROM (VALUES
	(1, ''),
	(2, '123-45-6789'),
	(3, '\x'),
	(4, '\xec'),
	(5, 'ec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(6, '\Xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(7, '\xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b68'),
	(8, '\xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b6gg'),
	(9, '\xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b6 85'),
	(10, '\354\003\000\000'),
	(11, '\xed03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(12, '\xec00000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(13, '\xec06000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(14, '\xec83000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(15, '\xec03040001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(16, '\xec03000101020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(17, '\xec03000000000000000000003fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(18, '\xec030000ffffffffffffffff3fdcbcbc323bce2aaf488cc76ab2c8b685'),
	(19, '\xec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8')
) AS t(n, v) ORDER BY n;

-- the least length of each suite is taken, one byte less is not
SELECT suite, bytes,
	   etype_try(format('SELECT %L::enc_bytea', '\xec' || suite || '00000102030405060708' || repeat('00', bytes - 12))) AS least,
	   left(etype_try(format('SELECT %L::enc_bytea', '\xec' || suite || '00000102030405060708' || repeat('00', bytes - 13))), 5) AS shorter
FROM (VALUES ('01', 52), ('02', 84), ('03', 28), ('04', 52), ('05', 40)) AS t(suite, bytes) ORDER BY suite;

-- ---------- binary input and output ----------

SELECT encode(enc_bytea_send(etype_siv(7)), 'hex');
CREATE TABLE etype_bin (v enc_bytea, d enc_bytea(deterministic));
CREATE TABLE etype_raw (v bytea, d bytea);
INSERT INTO etype_bin VALUES (etype_xaes(1), etype_siv(1)), (NULL, NULL);
COPY etype_bin TO PROGRAM 'cat > etype.bin' (FORMAT binary);
COPY etype_raw FROM PROGRAM 'cat etype.bin' (FORMAT binary);
SELECT b.v::bytea = r.v AND b.d::bytea = r.d AS same FROM etype_bin b, etype_raw r WHERE b.v IS NOT NULL AND r.v IS NOT NULL;
COPY etype_bin FROM PROGRAM 'cat etype.bin; rm etype.bin' (FORMAT binary);
SELECT count(*), count(v), count(DISTINCT v) FROM etype_bin;
-- binary input checks the form and the modifier
TRUNCATE etype_raw;
INSERT INTO etype_raw VALUES (convert_to('123-45-6789', 'UTF8'), NULL);
COPY etype_raw TO PROGRAM 'cat > etype.bin' (FORMAT binary);
SELECT etype_try('COPY etype_bin FROM PROGRAM ''cat etype.bin; rm etype.bin'' (FORMAT binary)');
TRUNCATE etype_raw;
INSERT INTO etype_raw VALUES (NULL, etype_xaes(1)::bytea);
COPY etype_raw TO PROGRAM 'cat > etype.bin' (FORMAT binary);
SELECT etype_try('COPY etype_bin FROM PROGRAM ''cat etype.bin; rm etype.bin'' (FORMAT binary)');
DROP TABLE etype_bin, etype_raw;

-- ---------- the modifier ----------

CREATE TABLE etype_mod (
	any_value enc_bytea,
	det enc_bytea(deterministic),
	loud enc_bytea("DETERMINISTIC"),
	many enc_bytea(deterministic)[]);
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'etype_mod'::regclass AND attnum > 0 ORDER BY attnum;
SELECT n, etype_try('CREATE TABLE etype_bad (v enc_bytea' || m || ')') FROM (VALUES
	(1, '(random)'), (2, '(1)'), (3, '(deterministic, deterministic)'), (4, '(''deterministic '')')) AS t(n, m) ORDER BY n;
INSERT INTO etype_mod VALUES (etype_xaes(1), etype_siv(1), etype_siv(1), ARRAY[etype_siv(1), etype_siv(2)]);
SELECT etype_try('INSERT INTO etype_mod (det) VALUES (etype_xaes(1))');
SELECT etype_try('INSERT INTO etype_mod (many) VALUES (ARRAY[etype_siv(1), etype_xaes(1)])');
SELECT etype_try(format('INSERT INTO etype_mod (det) VALUES (%L)', etype_xaes(1)));
SELECT etype_try('INSERT INTO etype_mod (det) SELECT any_value FROM etype_mod');
SELECT etype_try('UPDATE etype_mod SET det = any_value');
SELECT etype_try('SELECT any_value::enc_bytea(deterministic) FROM etype_mod');
SELECT etype_try('ALTER TABLE etype_mod ALTER any_value TYPE enc_bytea(deterministic)');
SELECT etype_try(format('COPY etype_mod (det) FROM PROGRAM %L (FORMAT csv)', 'printf "%s\n" ''' || etype_xaes(1) || ''''));
-- a long value, stored out of line
INSERT INTO etype_mod (any_value) SELECT ('\xec0100000102030405060708' || repeat('ab', 9000))::enc_bytea;
INSERT INTO etype_mod (det) SELECT ('\xec0300000102030405060708' || repeat('ab', 9000))::enc_bytea;
INSERT INTO etype_mod (any_value) SELECT det FROM etype_mod WHERE octet_length(det::bytea) > 9000;
INSERT INTO etype_mod (det) SELECT any_value FROM etype_mod WHERE octet_length(any_value::bytea) > 9000 AND any_value > etype_siv(0);
SELECT etype_try('INSERT INTO etype_mod (det) SELECT any_value FROM etype_mod WHERE octet_length(any_value::bytea) > 9000');
SELECT count(*), count(det) FROM etype_mod;
-- removing the modifier rewrites nothing
SELECT pg_relation_filenode('etype_mod') AS before \gset
ALTER TABLE etype_mod ALTER det TYPE enc_bytea;
SELECT pg_relation_filenode('etype_mod') = :before AS kept;
DROP TABLE etype_mod;

-- ---------- casts ----------

SELECT etype_siv(1)::bytea;
SELECT etype_siv(1)::bytea::enc_bytea = etype_siv(1) AS same;
SELECT etype_try('SELECT ''\x3132332d34352d36373839''::bytea::enc_bytea');
SELECT etype_try('SELECT ''\x''::bytea::enc_bytea');
SELECT castsource::regtype, casttarget::regtype, castcontext, castmethod FROM pg_cast
WHERE 'enc_bytea'::regtype IN (castsource, casttarget) ORDER BY castsource::regtype::text, casttarget::regtype::text;
CREATE TABLE etype_bytea (b bytea, v enc_bytea);
SELECT etype_try('INSERT INTO etype_bytea (v) VALUES (''\xec''::bytea)');
SELECT etype_try('INSERT INTO etype_bytea (b) VALUES (etype_siv(1))');
SELECT etype_try('SELECT ''\xec''::bytea = etype_siv(1)');
DROP TABLE etype_bytea;

-- ---------- comparison ----------

SELECT a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, enc_bytea_cmp(a, b) < 0 AS cmp
FROM (VALUES (1, etype_siv(1), etype_siv(2)), (2, etype_siv(2), etype_siv(1)), (3, etype_siv(1), etype_siv(1)),
	(4, etype_xaes(9), etype_siv(1)), (5, etype_siv(-1), etype_siv(1))) AS t(n, a, b) ORDER BY n;
-- a prefix sorts first; order is that of the bytes, as for bytea
CREATE TABLE etype_cmp (n int, v enc_bytea);
INSERT INTO etype_cmp SELECT n, etype_siv(n) FROM generate_series(-3, 3) n;
INSERT INTO etype_cmp SELECT 10, '\xec030000010203040506070800000000000000000000000000000000'::enc_bytea;
INSERT INTO etype_cmp SELECT 11, etype_xaes(1);
INSERT INTO etype_cmp VALUES (12, NULL);
SELECT n FROM etype_cmp ORDER BY v NULLS LAST;
SELECT array_agg(n ORDER BY v) = array_agg(n ORDER BY v::bytea) AS like_bytea FROM etype_cmp;
SELECT bool_and((a.v < b.v) = (a.v::bytea < b.v::bytea) AND (a.v = b.v) = (a.v::bytea = b.v::bytea)
	AND (a.v >= b.v) = (a.v::bytea >= b.v::bytea) AND sign(enc_bytea_cmp(a.v, b.v)) = sign(byteacmp(a.v::bytea, b.v::bytea))) AS like_bytea
FROM etype_cmp a, etype_cmp b;
-- long values, out of line: same length and the last byte, or the length differs
CREATE TABLE etype_long (n int, v enc_bytea);
INSERT INTO etype_long SELECT n, ('\xec0300000102030405060708' || repeat('ab', 9000) || lpad(to_hex(n % 3), 2, '0') || repeat('cd', n / 3))::enc_bytea
FROM generate_series(0, 5) n;
INSERT INTO etype_long SELECT * FROM etype_long;
SELECT pg_relation_size(reltoastrelid) > 0 AS toasted FROM pg_class WHERE oid = 'etype_long'::regclass;
SELECT count(*), bool_and((a.n = b.n) = (a.v = b.v)) AS eq, bool_and((a.n <> b.n) = (a.v <> b.v)) AS ne FROM etype_long a, etype_long b;
SELECT count(DISTINCT v) FROM etype_long;

-- ---------- hash ----------

SELECT count(*), count(DISTINCT v), count(DISTINCT enc_bytea_hash(v)) AS hashes,
	   count(DISTINCT enc_bytea_hash_extended(v, 0)) AS extended, count(DISTINCT enc_bytea_hash_extended(v, 42)) AS salted,
	   bool_and(enc_bytea_hash_extended(v, 0) <> enc_bytea_hash_extended(v, 42)) AS salt_matters,
	   bool_and((enc_bytea_hash_extended(v, 0) & 4294967295)::bit(32) = enc_bytea_hash(v)::bit(32)) AS agree
FROM (SELECT v FROM etype_cmp WHERE v IS NOT NULL UNION ALL SELECT v FROM etype_long) a;

-- ---------- operator classes ----------

SELECT am.amname, opc.opcname, opc.opcdefault, amvalidate(opc.oid)
FROM pg_opclass opc JOIN pg_am am ON am.oid = opcmethod
WHERE opcintype = 'enc_bytea'::regtype ORDER BY 1;
SELECT proname, proleakproof, provolatile, proparallel FROM pg_proc
WHERE pronamespace = 'envcrypt'::regnamespace AND proname ~ '^enc_bytea_(eq|ne|lt|le|gt|ge|cmp|hash|hash_extended)$' ORDER BY 1;

CREATE TABLE etype_t (id int PRIMARY KEY, v enc_bytea(deterministic));
INSERT INTO etype_t SELECT n, etype_siv(n % 100) FROM generate_series(1, 1000) n;
CREATE INDEX etype_t_btree ON etype_t (v);
CREATE INDEX etype_t_hash ON etype_t USING hash (v);
ANALYZE etype_t;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
BEGIN;
DROP INDEX etype_t_hash;
EXPLAIN (COSTS OFF) SELECT id FROM etype_t WHERE v = etype_siv(5);
SELECT count(*) FROM etype_t WHERE v = etype_siv(5);
SELECT count(*) FROM etype_t WHERE v = ANY (ARRAY[etype_siv(5), etype_siv(6), etype_xaes(1)]);
EXPLAIN (COSTS OFF) SELECT DISTINCT v FROM etype_t WHERE v < etype_siv(3) ORDER BY v;
SELECT DISTINCT v FROM etype_t WHERE v < etype_siv(3) ORDER BY v;
ROLLBACK;
BEGIN;
DROP INDEX etype_t_btree;
EXPLAIN (COSTS OFF) SELECT id FROM etype_t WHERE v = etype_siv(5);
SELECT count(*) FROM etype_t WHERE v = etype_siv(5);
ROLLBACK;
RESET enable_seqscan;
RESET enable_bitmapscan;

-- joins of each kind
SET enable_nestloop = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM etype_t a JOIN etype_t b USING (v);
SELECT count(*) FROM etype_t a JOIN etype_t b USING (v);
SET enable_hashjoin = off;
RESET enable_mergejoin;
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM etype_t a JOIN etype_t b USING (v);
SELECT count(*) FROM etype_t a JOIN etype_t b USING (v);
RESET enable_nestloop;
RESET enable_hashjoin;
RESET enable_indexscan;
RESET enable_indexonlyscan;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT v, count(*) FROM etype_t GROUP BY v;
SELECT count(*), min(c), max(c) FROM (SELECT v, count(*) AS c FROM etype_t GROUP BY v) s;
RESET enable_sort;

-- partitions
CREATE TABLE etype_part (v enc_bytea(deterministic)) PARTITION BY HASH (v);
CREATE TABLE etype_part0 PARTITION OF etype_part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE etype_part1 PARTITION OF etype_part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO etype_part SELECT etype_siv(n) FROM generate_series(1, 100) n;
SELECT (SELECT count(*) FROM etype_part0) BETWEEN 20 AND 80 AS spread, count(*) FROM etype_part;
SELECT count(*) FROM etype_part WHERE v = etype_siv(5);
DROP TABLE etype_part;

-- unique, upsert
CREATE TABLE etype_uniq (v enc_bytea(deterministic) PRIMARY KEY, n int);
INSERT INTO etype_uniq VALUES (etype_siv(1), 1);
INSERT INTO etype_uniq VALUES (etype_siv(1), 2) ON CONFLICT (v) DO UPDATE SET n = excluded.n;
SELECT n FROM etype_uniq;
SELECT left(etype_try('INSERT INTO etype_uniq VALUES (etype_siv(1), 3)'), 5);
DROP TABLE etype_uniq;

-- ---------- statistics ----------

CREATE TABLE etype_stats (
	rnd enc_bytea,
	det enc_bytea(deterministic),
	nomod enc_bytea,
	mixed enc_bytea,
	nothing enc_bytea);
INSERT INTO etype_stats SELECT
	CASE WHEN n % 4 > 0 THEN encrypt('name ' || n % 10, 'etype_random') END,
	encrypt('name ' || n % 10, 'etype_det'),
	encrypt('name ' || n % 10, 'etype_det'),
	CASE n WHEN 77 THEN encrypt('x', 'etype_random') ELSE encrypt('x', 'etype_det') END
FROM generate_series(1, 400) n;
ANALYZE etype_stats;
SELECT attname, null_frac, avg_width, n_distinct, most_common_vals IS NOT NULL AS mcv,
	   histogram_bounds IS NOT NULL AS histogram, correlation IS NOT NULL AS correlation
FROM pg_stats WHERE tablename = 'etype_stats' ORDER BY attname;
-- of an expression
CREATE INDEX ON etype_stats ((coalesce(rnd, det)));
ANALYZE etype_stats;
SELECT s.n_distinct, s.most_common_vals IS NOT NULL AS mcv
FROM pg_stats s JOIN pg_index i ON s.tablename = (SELECT relname FROM pg_class WHERE oid = i.indexrelid)
WHERE i.indrelid = 'etype_stats'::regclass;
DROP INDEX etype_stats_coalesce_idx;
-- wide values: the widest column of a row is stored out of line
TRUNCATE etype_stats;
INSERT INTO etype_stats (rnd, det, nomod) SELECT
	encrypt(repeat('x', 600), 'etype_random'), encrypt(repeat('x', 600), 'etype_det'), encrypt(repeat('x', 990), 'etype_det')
FROM generate_series(1, 20);
SELECT pg_relation_size(reltoastrelid) > 0 AS toasted FROM pg_class WHERE oid = 'etype_stats'::regclass;
ANALYZE etype_stats;
SELECT attname, null_frac, n_distinct, most_common_vals IS NOT NULL AS mcv, histogram_bounds IS NOT NULL AS histogram
FROM pg_stats WHERE tablename = 'etype_stats' ORDER BY attname;
-- of nothing
TRUNCATE etype_stats;
ANALYZE etype_stats;
DROP TABLE etype_stats;

-- ---------- the planner's guard ----------

CREATE TABLE etype_search (rnd enc_bytea, det enc_bytea(deterministic));
INSERT INTO etype_search VALUES (encrypt('x', 'etype_random'), encrypt('x', 'etype_det'));
SELECT n, etype_try('SELECT count(*) FROM etype_search WHERE ' || q) FROM (VALUES
	(1, 'rnd = encrypt(''x'', ''etype_random'')'),
	(2, 'encrypt(''x'', ''etype_random'') = rnd'),
	(3, 'rnd <> encrypt(''x'', ''etype_random'')'),
	(4, 'rnd = encrypt(42, ''etype_random'')'),
	(5, 'rnd = encrypt_bound(''x'', ''etype_random'', ''c'')'),
	(6, 'rnd = encrypt_bytea(''\x00'', ''etype_random'')'),
	(7, 'det = encrypt(''x'', ''etype_random'')'),
	(8, 'det = encrypt(''x'', ''etype_random'')::enc_bytea(deterministic)'),
	(9, 'rnd = encrypt(key => ''etype_random'', plaintext => ''x'')'),
	(10, 'rnd = encrypt(''x'', ''etype_'' || ''random'')'),
	(11, 'rnd IN (encrypt(''x'', ''etype_random''))'),
	(12, 'det = encrypt(''x'', ''etype_det'')'),
	(13, 'det = encrypt(''x'', ''etype_nobody'')'),
	(14, 'det = encrypt(''x'', NULL)')
) AS t(n, q) ORDER BY n;
SELECT count(*) FROM etype_search WHERE det = encrypt('x', 'etype_det');
SELECT count(*) FROM etype_search WHERE det = ANY (search_terms('x', 'etype_det'));
-- somebody else's function of that name is none of ours
CREATE SCHEMA etype_other;
CREATE FUNCTION etype_other.encrypt(text, text) RETURNS enc_bytea LANGUAGE plpgsql AS 'BEGIN RETURN public.etype_siv(1); END';
SELECT count(*) FROM etype_search WHERE rnd = etype_other.encrypt('x', 'etype_random');
-- a key that is not a constant
PREPARE etype_p(text) AS SELECT count(*) FROM etype_search WHERE rnd = encrypt('x', $1);
SET plan_cache_mode = force_generic_plan;
EXECUTE etype_p('etype_random');
SET plan_cache_mode = force_custom_plan;
EXECUTE etype_p('etype_random');
RESET plan_cache_mode;
DEALLOCATE etype_p;

DROP SCHEMA etype_other CASCADE;
DROP TABLE etype_search, etype_t, etype_cmp, etype_long;
DROP FUNCTION etype_siv, etype_xaes, etype_try;
