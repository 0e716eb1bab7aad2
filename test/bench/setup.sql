-- Variables: floor (path of the module).
SET client_min_messages = warning;
CREATE SCHEMA bench;
CREATE SCHEMA pgcrypto;
CREATE EXTENSION envcrypt;
CREATE EXTENSION pgcrypto SCHEMA pgcrypto;
SELECT envcrypt.create_key('bench'), envcrypt.create_key('bench.search', 'aes-256-siv');
SELECT envcrypt.create_key('many/' || i) FROM generate_series(1, 1000) i;

CREATE FUNCTION bench.touch(text) RETURNS int LANGUAGE c IMMUTABLE STRICT AS :'floor', 'bench_touch';
CREATE FUNCTION bench.noise(int) RETURNS text LANGUAGE c VOLATILE STRICT AS :'floor', 'bench_noise';
CREATE FUNCTION bench.cpu() RETURNS float8 LANGUAGE c VOLATILE AS :'floor', 'bench_cpu';
CREATE FUNCTION bench.malloced() RETURNS bigint LANGUAGE c VOLATILE AS :'floor', 'bench_malloced';
CREATE FUNCTION bench.resident() RETURNS bigint LANGUAGE c VOLATILE AS :'floor', 'bench_resident';

-- Every time taken, for n values: on the clock, and of the processor where the
-- session can see it.
CREATE TABLE bench.result (part text, what text, round int, n int, wall_ms float8, cpu_ms float8);
CREATE TABLE bench.statement (part text, ord int, what text, n int, before text, sql text);
CREATE TABLE bench.memory (what text, bytes_per_key float8);

-- The statements of a part, one after the other in each round and in this
-- session.  Round 0 warms up and is not kept.
CREATE PROCEDURE bench.run(a_part text, rounds int) LANGUAGE plpgsql AS $$
DECLARE
	s bench.statement;
	start timestamptz;
	cpu float8;
BEGIN
	FOR round IN 0..rounds LOOP
		FOR s IN SELECT * FROM bench.statement WHERE part = a_part ORDER BY ord LOOP
			IF s.before <> '' THEN
				EXECUTE s.before;
				COMMIT;
			END IF;
			start := clock_timestamp();
			cpu := bench.cpu();
			EXECUTE s.sql;
			cpu := bench.cpu() - cpu;
			INSERT INTO bench.result SELECT s.part, s.what, round, s.n,
				extract(epoch FROM clock_timestamp() - start) * 1000, cpu WHERE round > 0;
			COMMIT;
		END LOOP;
	END LOOP;
END
$$;

-- A table of sealed values, each thousand in a transaction of its own.
CREATE PROCEDURE bench.write_in_transactions(n int) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE bench.transactions (id int, v envcrypt.enc_bytea);
	FOR i IN 1..n LOOP
		INSERT INTO bench.transactions
			SELECT g, envcrypt.encrypt(bench.noise(64), 'bench') FROM generate_series(1, 1000) g;
		COMMIT;
	END LOOP;
END
$$;
