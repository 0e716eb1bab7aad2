-- encrypt_trigger(): seals a plaintext column as rows are written.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
SET search_path = public, envcrypt;

CREATE FUNCTION etrig_try(stmt text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE stmt;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN pg_catalog.concat_ws(' | ', SQLSTATE, SQLERRM, NULLIF(hint, ''));
END $$;
SELECT create_key('etrig_pii');
SELECT create_key('etrig_det', 'aes-256-siv');

-- ---------- without a context ----------

CREATE TABLE etrig_plain (id int PRIMARY KEY, name_plain text, name enc_bytea, upper_name text GENERATED ALWAYS AS (upper(name_plain)) STORED);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_plain FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('name_plain', 'name', 'etrig_pii');
INSERT INTO etrig_plain VALUES (1, 'Ada'), (2, NULL), (3, ''), (4, 'Grün€');
INSERT INTO etrig_plain (id, name_plain, name) VALUES (5, NULL, encrypt('given', 'etrig_pii')), (6, 'wins', encrypt('given', 'etrig_pii'));
SELECT id, name_plain, decrypt(name), upper_name, (enc_info(name)).plaintext_bytes FROM etrig_plain ORDER BY id;
-- nothing in the table but ciphertext
SELECT count(*) FROM etrig_plain t WHERE t::text LIKE '%Ada%';
-- updates: a new plaintext, an untouched one, a NULL one
CREATE TABLE etrig_before AS SELECT * FROM etrig_plain;
UPDATE etrig_plain SET name_plain = 'Grace' WHERE id = 1;
UPDATE etrig_plain SET id = id + 10 WHERE id > 1;
UPDATE etrig_plain SET name_plain = NULL WHERE id = 14;
UPDATE etrig_plain SET name = NULL WHERE id = 15;
UPDATE etrig_plain SET name = encrypt('mine', 'etrig_pii') WHERE id = 16;
SELECT p.id, p.name_plain, decrypt(p.name), p.name = b.name AS same
FROM etrig_plain p JOIN etrig_before b ON b.id = p.id % 10 ORDER BY p.id;
-- RETURNING shows what was stored; upserts and COPY go the same way
INSERT INTO etrig_plain (id, name_plain) VALUES (7, 'Edith') RETURNING id, name_plain, decrypt(name);
INSERT INTO etrig_plain (id, name_plain) VALUES (7, 'Hedy')
	ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING id, name_plain, decrypt(name);
COPY etrig_plain (id, name_plain) FROM stdin;
8	Joan
9	\N
\.
SELECT id, name_plain, decrypt(name) FROM etrig_plain WHERE id IN (8, 9) ORDER BY id;
DROP TABLE etrig_plain, etrig_before;

-- ---------- with a context ----------

CREATE TABLE etrig_bound (customer_id int, region varchar(10), name_plain text, name enc_bytea, note text);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_bound FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('name_plain', 'name', 'etrig_pii', '=customer.name', 'customer_id', 'region');
INSERT INTO etrig_bound (customer_id, region, name_plain) VALUES (1, 'süd', 'Ada'), (2, '', 'Grace'), (3, NULL, NULL);
SELECT customer_id, decrypt(name, enc_context('customer.name', customer_id::text, region)), (enc_info(name)).has_context
FROM etrig_bound WHERE name IS NOT NULL ORDER BY 1;
SELECT etrig_try('SELECT decrypt(name) FROM etrig_bound WHERE customer_id = 1');
SELECT etrig_try('SELECT decrypt(name, enc_context(''customer.name'', ''2'', region)) FROM etrig_bound WHERE customer_id = 1');
-- a context column must have a value once there is one to seal
SELECT etrig_try('INSERT INTO etrig_bound (customer_id, name_plain) VALUES (4, ''Hedy'')');
SELECT etrig_try('UPDATE etrig_bound SET name_plain = ''Hedy'' WHERE customer_id = 3');
SELECT etrig_try('UPDATE etrig_bound SET region = NULL WHERE customer_id = 1');
UPDATE etrig_bound SET region = 'ost' WHERE customer_id = 3;
-- the value follows its context, and stays as it is when nothing of it moved
CREATE TABLE etrig_before AS SELECT * FROM etrig_bound;
UPDATE etrig_bound SET note = 'seen';
UPDATE etrig_bound SET region = region, customer_id = customer_id;
SELECT bool_and(a.name = b.name) FROM etrig_bound a JOIN etrig_before b USING (customer_id);
UPDATE etrig_bound SET customer_id = customer_id + 10, region = 'nord';
SELECT a.customer_id, decrypt(a.name, enc_context('customer.name', a.customer_id::text, 'nord')), a.name = b.name AS same, a.name_plain
FROM etrig_bound a LEFT JOIN etrig_before b ON b.customer_id = a.customer_id - 10 ORDER BY 1;
-- an envelope given along with the change is taken as given
UPDATE etrig_bound SET customer_id = 21, name = encrypt_bound('own', 'etrig_pii', 'elsewhere') WHERE customer_id = 11;
SELECT decrypt(name, 'elsewhere') FROM etrig_bound WHERE customer_id = 21;
-- and one that the old context does not open is an error, not a loss
SELECT etrig_try('UPDATE etrig_bound SET customer_id = 31 WHERE customer_id = 21');
-- a new plaintext goes with the new context
UPDATE etrig_bound SET customer_id = 31, name_plain = 'Mary' WHERE customer_id = 21;
SELECT decrypt(name, enc_context('customer.name', '31', 'nord')) FROM etrig_bound WHERE customer_id = 31;
-- a value that was sealed without a context does not depend on it
UPDATE etrig_bound SET name = encrypt('free', 'etrig_pii') WHERE customer_id = 12;
UPDATE etrig_bound SET customer_id = 22 WHERE customer_id = 12;
SELECT decrypt(name) FROM etrig_bound WHERE customer_id = 22;
-- long values, out of line
UPDATE etrig_bound SET name_plain = repeat('long ', 2000) WHERE customer_id = 31;
UPDATE etrig_bound SET note = 'again' WHERE customer_id = 31;
UPDATE etrig_bound SET customer_id = 32 WHERE customer_id = 31;
SELECT decrypt(name, enc_context('customer.name', '32', 'nord')) = repeat('long ', 2000) AS whole FROM etrig_bound WHERE customer_id = 32;

-- privileges: writing needs encrypt, following a context decrypt
CREATE ROLE etrig_writer;
SELECT grant_key('etrig_pii', 'etrig_writer', '{encrypt}');
CREATE ROLE etrig_nobody;
GRANT ALL ON etrig_bound TO etrig_writer, etrig_nobody;
SET ROLE etrig_writer;
INSERT INTO etrig_bound (customer_id, region, name_plain) VALUES (40, 'west', 'Ruth');
UPDATE etrig_bound SET note = 'mine' WHERE customer_id = 40;
SELECT left(etrig_try('UPDATE etrig_bound SET customer_id = 41 WHERE customer_id = 40'), 5);
SET ROLE etrig_nobody;
SELECT left(etrig_try('INSERT INTO etrig_bound (customer_id, region, name_plain) VALUES (50, ''west'', ''Ruth'')'), 5);
UPDATE etrig_bound SET note = 'theirs' WHERE customer_id = 40;
RESET ROLE;

-- replication: rows are taken as they come
ALTER TABLE etrig_bound ENABLE ALWAYS TRIGGER seal;
SET session_replication_role = replica;
INSERT INTO etrig_bound (customer_id, region, name_plain) VALUES (60, 'west', 'as it came');
RESET session_replication_role;
SELECT name_plain, name IS NULL FROM etrig_bound WHERE customer_id = 60;
DROP TABLE etrig_bound, etrig_before;

-- ---------- types ----------

CREATE DOMAIN etrig_email AS varchar(50);
CREATE DOMAIN etrig_blob AS bytea;
CREATE TYPE etrig_mood AS ENUM ('sad', 'happy');
CREATE TABLE etrig_types (
	id int,
	vc_p varchar(20), vc enc_bytea, bc_p char(10), bc enc_bytea, nm_p name, nm enc_bytea,
	dom_p etrig_email, dom enc_bytea, blob_p etrig_blob, blob enc_bytea, by_p bytea, by enc_bytea, d_p date, d enc_bytea,
	num_p numeric, num enc_bytea, ts_p timestamptz, ts enc_bytea, js_p jsonb, js enc_bytea,
	mood_p etrig_mood, mood enc_bytea, arr_p text[], arr enc_bytea);
DO $$
DECLARE
	c text;
BEGIN
	FOREACH c IN ARRAY ARRAY['vc', 'bc', 'nm', 'dom', 'blob', 'by', 'd', 'num', 'ts', 'js', 'mood', 'arr'] LOOP
		EXECUTE format('CREATE TRIGGER seal_%s BEFORE INSERT OR UPDATE ON public.etrig_types FOR EACH ROW
			EXECUTE FUNCTION envcrypt.encrypt_trigger(%L, %L, ''etrig_pii'')', c, c || '_p', c);
	END LOOP;
END $$;
SET datestyle = 'SQL, DMY';
SET timezone = 'America/New_York';
INSERT INTO etrig_types (id, vc_p, bc_p, nm_p, dom_p, blob_p, by_p, d_p, num_p, ts_p, js_p, mood_p, arr_p)
SELECT n, 'vc', 'bc', 'nm', 'a@b.c', '\xff00', '\x00ff', '24/12/2026', 1.50, '2026-12-24 12:00:00+00', '{"b": 1, "a": [null]}', 'happy', ARRAY['x', NULL]
FROM generate_series(1, 3) n;
\x on
SELECT decrypt(vc) AS vc, decrypt(bc) || '|' AS bc, decrypt(nm) AS nm, decrypt(dom) AS dom, decrypt_bytea(blob) AS blob, decrypt_bytea(by) AS by,
	   decrypt(d) AS d, decrypt(num) AS num, decrypt(ts) AS ts, decrypt(js) AS js, decrypt(mood) AS mood, decrypt(arr) AS arr
FROM etrig_types WHERE id = 3;
\x off
SELECT decrypt_as(d, NULL::date), decrypt_as(ts, NULL::timestamptz), decrypt_as(num, NULL::numeric) + 1 AS num FROM etrig_types WHERE id = 3;
RESET datestyle;
RESET timezone;
SELECT count(*) FROM etrig_types WHERE num_nonnulls(vc_p, bc_p, nm_p, dom_p, blob_p, by_p, d_p, num_p, ts_p, js_p, mood_p, arr_p) > 0;
DROP TABLE etrig_types;

-- context columns of several types, whatever the session's settings
CREATE TABLE etrig_ctx (p text, v enc_bytea, d date, c char(8), b bool, u uuid, dom etrig_email);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_ctx FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('p', 'v', 'etrig_pii', 'd', 'c', 'b', 'u', 'dom', '=', '==x');
SET datestyle = 'SQL, DMY';
INSERT INTO etrig_ctx VALUES ('secret', NULL, '24/12/2026', 'abc', true, '00000000-0000-0000-0000-00000000000a', 'a@b.c');
RESET datestyle;
SELECT decrypt(v, enc_context('2026-12-24', c, 't', u::text, dom, '', '=x')) FROM etrig_ctx;
UPDATE etrig_ctx SET c = 'def', b = false;
SELECT decrypt(v, enc_context('2026-12-24', 'def', 'f', u::text, 'a@b.c', '', '=x')) FROM etrig_ctx;
DROP TABLE etrig_ctx;

-- ---------- enc_bytea(deterministic) ----------

CREATE TABLE etrig_unique (email_plain text, email enc_bytea(deterministic) UNIQUE);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_unique FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('email_plain', 'email', 'etrig_det');
INSERT INTO etrig_unique (email_plain) VALUES ('a@b.c');
SELECT left(etrig_try('INSERT INTO etrig_unique (email_plain) VALUES (''a@b.c'')'), 5);
SELECT count(*) FROM etrig_unique WHERE email = ANY (search_terms('a@b.c', 'etrig_det'));
DROP TRIGGER seal ON etrig_unique;
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_unique FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('email_plain', 'email', 'etrig_pii');
SELECT etrig_try('INSERT INTO etrig_unique (email_plain) VALUES (''d@e.f'')');
DROP TABLE etrig_unique;

-- ---------- partitions ----------

CREATE TABLE etrig_part (id int, p text, v enc_bytea) PARTITION BY RANGE (id);
CREATE TABLE etrig_part1 (v enc_bytea, gone int, p text, id int);
ALTER TABLE etrig_part1 DROP COLUMN gone;
ALTER TABLE etrig_part ATTACH PARTITION etrig_part1 FOR VALUES FROM (0) TO (10);
CREATE TABLE etrig_part2 PARTITION OF etrig_part FOR VALUES FROM (10) TO (20);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_part FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('p', 'v', 'etrig_pii', 'id');
INSERT INTO etrig_part VALUES (1, 'one'), (11, 'eleven');
UPDATE etrig_part SET id = id + 1;
UPDATE etrig_part SET id = 15 WHERE id = 2;
SELECT tableoid::regclass, id, p, decrypt(v, enc_context(id::text)) FROM etrig_part ORDER BY id;
DROP TABLE etrig_part;

-- ---------- definitions that cannot work ----------

CREATE TABLE etrig_bad (id int, p text, v enc_bytea, t text, v2 enc_bytea, g text GENERATED ALWAYS AS ('x') STORED, gv enc_bytea GENERATED ALWAYS AS (NULL::enc_bytea) STORED);
CREATE FUNCTION etrig_define(timing text, args text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	raised text;
BEGIN
	EXECUTE 'CREATE TRIGGER seal ' || timing || ' EXECUTE FUNCTION envcrypt.encrypt_trigger(' || args || ')';
	raised := public.etrig_try('INSERT INTO public.etrig_bad (id, p) VALUES (1, ''123-45-6789'')');
	IF raised = 'ok' THEN
		raised := public.etrig_try('UPDATE public.etrig_bad SET p = ''123-45-6789''');
	END IF;
	IF raised = 'ok' THEN
		raised := public.etrig_try('DELETE FROM public.etrig_bad');
	END IF;
	DROP TRIGGER seal ON public.etrig_bad;
	TRUNCATE public.etrig_bad;
	RETURN raised;
END $$;
SELECT n, etrig_define(replace(timing, 'EACH', 'ON public.etrig_bad FOR EACH'), args) FROM (VALUES
	(1, 'BEFORE INSERT OR UPDATE EACH ROW', '''p'', ''v'', ''etrig_pii'''),
	(2, 'AFTER INSERT OR UPDATE EACH ROW', '''p'', ''v'', ''etrig_pii'''),
	(3, 'BEFORE INSERT OR UPDATE EACH STATEMENT', '''p'', ''v'', ''etrig_pii'''),
	(4, 'BEFORE DELETE EACH ROW', '''p'', ''v'', ''etrig_pii'''),
	(5, 'BEFORE INSERT EACH ROW', ''),
	(6, 'BEFORE INSERT EACH ROW', '''p'', ''v'''),
	(7, 'BEFORE INSERT EACH ROW', '''nope'', ''v'', ''etrig_pii'''),
	(8, 'BEFORE INSERT EACH ROW', '''p'', ''nope'', ''etrig_pii'''),
	(9, 'BEFORE INSERT EACH ROW', '''p'', ''v'', ''etrig_pii'', ''nope'''),
	(10, 'BEFORE INSERT EACH ROW', '''p'', ''ctid'', ''etrig_pii'''),
	(11, 'BEFORE INSERT EACH ROW', '''p'', ''t'', ''etrig_pii'''),
	(12, 'BEFORE INSERT EACH ROW', '''v2'', ''v'', ''etrig_pii'''),
	(13, 'BEFORE INSERT EACH ROW', '''g'', ''v'', ''etrig_pii'''),
	(14, 'BEFORE INSERT EACH ROW', '''p'', ''gv'', ''etrig_pii'''),
	(15, 'BEFORE INSERT EACH ROW', '''p'', ''v'', ''etrig_pii'', ''g'''),
	(16, 'BEFORE INSERT EACH ROW', '''p'', ''v'', ''etrig_pii'', ''p'''),
	(17, 'BEFORE INSERT EACH ROW', '''p'', ''v'', ''etrig_pii'', ''v'''),
	(18, 'BEFORE INSERT OR UPDATE OF p EACH ROW', '''p'', ''v'', ''etrig_pii'', ''id'''),
	(19, 'BEFORE INSERT OR UPDATE OF id EACH ROW', '''p'', ''v'', ''etrig_pii'', ''id'''),
	(20, 'BEFORE INSERT OR UPDATE OF id, p EACH ROW', '''p'', ''v'', ''etrig_pii'', ''id'''),
	(21, 'BEFORE INSERT OR UPDATE OF p EACH ROW', '''p'', ''v'', ''etrig_pii'', ''=id'''),
	(22, 'BEFORE INSERT EACH ROW', '''p'', ''v'', ''etrig_nokey'''),
	(23, 'BEFORE INSERT EACH ROW', '''p'', ''v'', ''123-45-6789 or so''')
) AS t(n, timing, args) ORDER BY n;
SELECT etrig_try('SELECT encrypt_trigger()');
-- the client is told which trigger and column an error is about
CREATE TRIGGER seal BEFORE INSERT ON etrig_bad FOR EACH ROW EXECUTE FUNCTION encrypt_trigger('v2', 'v', 'etrig_pii');
INSERT INTO etrig_bad (id) VALUES (1);
DROP TRIGGER seal ON etrig_bad;
-- NULL in the plaintext column leaves the sealed value; NULL in the sealed column clears it
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON etrig_bad FOR EACH ROW EXECUTE FUNCTION encrypt_trigger('p', 'v', 'etrig_pii');
INSERT INTO etrig_bad (id, p) VALUES (1, 'kept');
UPDATE etrig_bad SET p = NULL RETURNING decrypt(v);
UPDATE etrig_bad SET v = NULL RETURNING v IS NULL AS cleared;

DROP FUNCTION etrig_define, etrig_try;
DROP TABLE etrig_bad;
DROP DOMAIN etrig_email, etrig_blob;
DROP TYPE etrig_mood;
SELECT revoke_key('etrig_pii', 'etrig_writer');
DROP ROLE etrig_writer, etrig_nobody;
