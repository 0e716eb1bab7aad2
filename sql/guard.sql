-- The guards: what would lose keys, weaken their tables or make randomized
-- values unique is refused; everything else is left alone.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
SET search_path = public, envcrypt;

CREATE FUNCTION eguard_try(stmt text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE stmt;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN pg_catalog.concat_ws(' | ', SQLSTATE, SQLERRM);
END $$;
SELECT create_key('eguard_key');
CREATE TABLE eguard_kept AS SELECT encrypt('kept', 'eguard_key') AS v;

-- ---------- dropping keys ----------

-- a session that has not used envcrypt is guarded as well
\c -
SET search_path = public, envcrypt;
SET client_min_messages = warning;
DROP EXTENSION envcrypt CASCADE;
\c -
SET search_path = public, envcrypt;
SET client_min_messages = warning;
DROP SCHEMA envcrypt CASCADE;
\c -
SET search_path = public, envcrypt;
SET client_min_messages = warning;
ALTER TABLE envcrypt.key_wrap DROP COLUMN wrapped;
\c -
SET search_path = public, envcrypt;
SET client_min_messages = warning;
ALTER EXTENSION envcrypt DROP TABLE envcrypt.key;
\c -
SET search_path = public, envcrypt;
SET client_min_messages = warning;
DROP TRIGGER guard_row ON envcrypt.key_wrap;

SELECT n, eguard_try(stmt) FROM (VALUES
	(1, 'DROP EXTENSION envcrypt'),
	(2, 'DROP EXTENSION IF EXISTS envcrypt CASCADE'),
	(3, 'DROP EXTENSION plpgsql, envcrypt CASCADE'),
	(4, 'DROP SCHEMA envcrypt'),
	(5, 'DROP SCHEMA envcrypt, public CASCADE'),
	(6, 'DROP TABLE envcrypt.key'),
	(7, 'DROP TABLE envcrypt.key_version CASCADE'),
	(8, 'DROP TYPE envcrypt.enc_bytea CASCADE'),
	(9, 'ALTER TABLE envcrypt.key_version DROP COLUMN commitment'),
	(10, 'ALTER TABLE envcrypt.key_grant DROP COLUMN grantee CASCADE'),
	(11, 'ALTER TABLE envcrypt.audit_log DROP COLUMN actor'),
	(12, 'ALTER EXTENSION envcrypt DROP TABLE envcrypt.key_wrap'),
	(13, 'ALTER EXTENSION envcrypt DROP FUNCTION envcrypt.key_table_guard()'),
	(14, 'ALTER EXTENSION envcrypt DROP EVENT TRIGGER envcrypt_guard_drop'),
	(15, 'DROP EVENT TRIGGER envcrypt_guard_drop')
) AS t(n, stmt) ORDER BY n;
-- in a replica session too
SET session_replication_role = replica;
SELECT eguard_try('DROP EXTENSION envcrypt CASCADE');
SELECT eguard_try('ALTER EXTENSION envcrypt DROP TABLE envcrypt.key');
RESET session_replication_role;
SELECT decrypt(v) FROM eguard_kept;

-- by its owner
CREATE ROLE eguard_owner SUPERUSER;
SELECT current_database() AS home \gset
CREATE DATABASE eguard_db;
\c eguard_db
SET client_min_messages = warning;
SET ROLE eguard_owner;
CREATE EXTENSION envcrypt;
RESET ROLE;
DROP EXTENSION envcrypt;
DROP OWNED BY eguard_owner CASCADE;
SELECT count(*) FROM pg_extension WHERE extname = 'envcrypt';
-- allowed when wanted, and undone by ROLLBACK
SELECT envcrypt.create_key('eguard_other');
CREATE TABLE eguard_t AS SELECT envcrypt.encrypt('x', 'eguard_other') AS v;
BEGIN;
SET LOCAL envcrypt.allow_destroy = on;
DROP EXTENSION envcrypt CASCADE;
SELECT count(*) FROM pg_extension WHERE extname = 'envcrypt';
ROLLBACK;
SELECT envcrypt.decrypt(v) FROM eguard_t;
-- only a superuser may say so
CREATE ROLE eguard_user;
SET ROLE eguard_user;
SET envcrypt.allow_destroy = on;
RESET ROLE;
BEGIN;
SET LOCAL envcrypt.allow_destroy = on;
ALTER EXTENSION envcrypt DROP TABLE envcrypt.audit_log;
DROP TABLE envcrypt.audit_log CASCADE;
ROLLBACK;
SET envcrypt.allow_destroy = on;
DROP EXTENSION envcrypt CASCADE;
RESET envcrypt.allow_destroy;
SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'envcrypt%';
-- nothing is left in the way of others; somebody else's schema is not built into
CREATE TABLE eguard_plain (id int PRIMARY KEY);
DROP TABLE eguard_plain;
CREATE SCHEMA envcrypt;
-- from 18 on, with a context that has a line of the script
\set SHOW_CONTEXT never
CREATE EXTENSION envcrypt;
\set SHOW_CONTEXT errors
DROP SCHEMA envcrypt;
CREATE EXTENSION envcrypt;
BEGIN;
SET LOCAL envcrypt.allow_destroy = on;
DROP EXTENSION envcrypt;
CREATE EXTENSION envcrypt;
COMMIT;
\c :home
SET search_path = public, envcrypt;
SET client_min_messages = warning;
DROP DATABASE eguard_db;
DROP ROLE eguard_owner;

-- ---------- triggers of the key tables ----------

CREATE VIEW eguard_triggers AS
	SELECT tgrelid::regclass AS tab, string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname) AS enabled
	FROM pg_trigger
	WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'envcrypt'::regnamespace)
	GROUP BY 1;
SELECT * FROM eguard_triggers ORDER BY tab::text;
-- what pg_restore --data-only --disable-triggers does
ALTER TABLE envcrypt.key DISABLE TRIGGER ALL;
SELECT enabled FROM eguard_triggers WHERE tab = 'envcrypt.key'::regclass;
SELECT eguard_try('UPDATE envcrypt.key SET enabled = false WHERE name = ''eguard_key''');
SELECT eguard_try('TRUNCATE envcrypt.key');
ALTER TABLE envcrypt.key ENABLE TRIGGER ALL;
SELECT enabled FROM eguard_triggers WHERE tab = 'envcrypt.key'::regclass;
ALTER TABLE envcrypt.key_version DISABLE TRIGGER guard_row, DISABLE TRIGGER guard_truncate;
ALTER TABLE envcrypt.key_wrap DISABLE TRIGGER USER;
ALTER TABLE envcrypt.key_grant ENABLE REPLICA TRIGGER guard_row;
ALTER TABLE envcrypt.audit_log ENABLE TRIGGER guard_truncate;
SELECT * FROM eguard_triggers ORDER BY tab::text;
SET session_replication_role = replica;
ALTER TABLE envcrypt.key DISABLE TRIGGER ALL;
SELECT eguard_try('DELETE FROM envcrypt.key');
RESET session_replication_role;
SELECT enabled FROM eguard_triggers WHERE tab = 'envcrypt.key'::regclass;
DROP VIEW eguard_triggers;

-- ---------- uniqueness ----------

CREATE TABLE eguard_t (id int PRIMARY KEY, v enc_bytea, d enc_bytea(deterministic), b bytea, other int);
CREATE DOMAIN eguard_dom AS enc_bytea;
CREATE DOMAIN eguard_dom2 AS eguard_dom NOT NULL;
CREATE DOMAIN eguard_det AS enc_bytea(deterministic);
CREATE TYPE eguard_row AS (n int, v enc_bytea);
CREATE TYPE eguard_detrow AS (n int, v enc_bytea(deterministic));
CREATE TABLE eguard_parent (d enc_bytea(deterministic) PRIMARY KEY);

-- one whole error
CREATE UNIQUE INDEX eguard_t_v ON eguard_t (v);

CREATE TYPE eguard_range AS RANGE (SUBTYPE = enc_bytea, MULTIRANGE_TYPE_NAME = eguard_multirange);
-- refused
SELECT n, eguard_try(stmt) FROM (VALUES
	(1, 'CREATE TABLE eguard_x (v enc_bytea UNIQUE)'),
	(2, 'CREATE TABLE eguard_x (id int, v enc_bytea, PRIMARY KEY (id, v))'),
	(3, 'CREATE TABLE eguard_x (v enc_bytea, EXCLUDE USING hash (v WITH =))'),
	(4, 'CREATE TABLE eguard_x (v enc_bytea, EXCLUDE USING btree (v WITH =))'),
	(5, 'CREATE TABLE eguard_x (v eguard_dom UNIQUE)'),
	(6, 'CREATE TABLE eguard_x (v eguard_dom2 UNIQUE)'),
	(7, 'CREATE TABLE eguard_x (v enc_bytea[] UNIQUE)'),
	(8, 'CREATE TABLE eguard_x (v eguard_dom[] UNIQUE)'),
	(9, 'CREATE TABLE eguard_x (v eguard_row UNIQUE)'),
	(10, 'CREATE TABLE eguard_x (v enc_bytea NULL, n int, UNIQUE (n, v))'),
	(11, 'CREATE TEMP TABLE eguard_x (v enc_bytea UNIQUE)'),
	(12, 'ALTER TABLE eguard_t ADD UNIQUE (v)'),
	(13, 'ALTER TABLE eguard_t ADD COLUMN w enc_bytea UNIQUE'),
	(14, 'CREATE UNIQUE INDEX ON eguard_t ((coalesce(v, d)))'),
	(15, 'CREATE UNIQUE INDEX ON eguard_t (other, (b::enc_bytea))'),
	(16, 'CREATE UNIQUE INDEX ON eguard_t (v) WHERE other > 1'),
	(17, 'ALTER TABLE eguard_parent ALTER d TYPE enc_bytea'),
	(18, 'CREATE TABLE eguard_x (v enc_bytea REFERENCES eguard_parent)'),
	(19, 'ALTER TABLE eguard_t ADD FOREIGN KEY (v) REFERENCES eguard_parent (d)'),
	(20, 'CREATE TABLE eguard_x (v enc_bytea) PARTITION BY HASH (v)'),
	(21, 'CREATE TABLE eguard_x (v enc_bytea) PARTITION BY LIST (v)'),
	(22, 'CREATE TABLE eguard_x (id int, v enc_bytea) PARTITION BY RANGE (id, v)'),
	(23, 'CREATE TABLE eguard_x (v enc_bytea) PARTITION BY HASH ((coalesce(v, v)))'),
	(24, 'CREATE SCHEMA eguard_s CREATE TABLE x (v enc_bytea UNIQUE)'),
	(25, 'CREATE SCHEMA eguard_s CREATE TABLE x (v enc_bytea) CREATE UNIQUE INDEX ON x (v)'),
	(26, 'CREATE UNIQUE INDEX ON eguard_t ((v::bytea))'),
	(27, 'CREATE UNIQUE INDEX ON eguard_t (encode(v::bytea, ''hex''))'),
	(28, 'CREATE TABLE eguard_x (v enc_bytea) PARTITION BY HASH ((v::bytea))'),
	(29, 'CREATE TABLE eguard_x (v eguard_range UNIQUE)'),
	(30, 'CREATE TABLE eguard_x (v eguard_multirange UNIQUE)')
) AS t(n, stmt) ORDER BY n;
CREATE UNIQUE INDEX CONCURRENTLY eguard_t_cic ON eguard_t (v);
-- what is left of it is in nobody's way
CREATE INDEX eguard_t_other ON eguard_t (other);
DROP INDEX eguard_t_other;
SELECT indisvalid FROM pg_index WHERE indexrelid = 'eguard_t_cic'::regclass;
DROP INDEX eguard_t_cic;

-- by way of partitions and children
CREATE TABLE eguard_part (id int, v enc_bytea, d enc_bytea(deterministic)) PARTITION BY RANGE (id);
CREATE TABLE eguard_part1 PARTITION OF eguard_part FOR VALUES FROM (0) TO (10);
SELECT eguard_try('CREATE UNIQUE INDEX ON eguard_part (id, v)');
SELECT eguard_try('CREATE UNIQUE INDEX ON eguard_part1 (v)');
SELECT eguard_try('CREATE TABLE eguard_part2 PARTITION OF eguard_part (UNIQUE (v)) FOR VALUES FROM (10) TO (20)');
CREATE UNIQUE INDEX ON eguard_part1 (d);
SELECT eguard_try('ALTER TABLE eguard_part ALTER d TYPE enc_bytea');
CREATE TABLE eguard_base (d enc_bytea(deterministic));
CREATE TABLE eguard_child (UNIQUE (d)) INHERITS (eguard_base);
SELECT eguard_try('ALTER TABLE eguard_base ALTER d TYPE enc_bytea');
SELECT eguard_try('CREATE TABLE eguard_like (v enc_bytea, LIKE eguard_child INCLUDING ALL, UNIQUE (v))');

-- allowed
SELECT n, eguard_try(stmt) FROM (VALUES
	(1, 'CREATE INDEX ON eguard_t (v)'),
	(2, 'CREATE INDEX ON eguard_t USING hash (v)'),
	(3, 'CREATE UNIQUE INDEX ON eguard_t (d)'),
	(4, 'CREATE UNIQUE INDEX ON eguard_t (id) INCLUDE (v)'),
	(5, 'CREATE UNIQUE INDEX ON eguard_t (other) WHERE v IS NOT NULL'),
	(6, 'CREATE UNIQUE INDEX ON eguard_t ((v IS NULL), id)'),
	(7, 'CREATE UNIQUE INDEX ON eguard_t ((v::enc_bytea(deterministic)))'),
	(8, 'ALTER TABLE eguard_t ADD FOREIGN KEY (d) REFERENCES eguard_parent'),
	(9, 'ALTER TABLE eguard_t ADD EXCLUDE USING hash (d WITH =)'),
	(10, 'ALTER TABLE eguard_t ALTER v TYPE enc_bytea(deterministic), ADD UNIQUE (v)'),
	(11, 'ALTER TABLE eguard_t ADD COLUMN doms eguard_det UNIQUE'),
	(12, 'ALTER TABLE eguard_t ADD COLUMN arr enc_bytea(deterministic)[] UNIQUE'),
	(13, 'ALTER TABLE eguard_t ADD COLUMN comp eguard_detrow UNIQUE'),
	(14, 'CREATE TABLE eguard_ok (v enc_bytea(deterministic)) PARTITION BY LIST (v)'),
	(15, 'CREATE TABLE eguard_like (LIKE eguard_child INCLUDING ALL)'),
	(16, 'CREATE SCHEMA eguard_s CREATE TABLE x (v enc_bytea(deterministic) UNIQUE, w enc_bytea)'),
	(17, 'CREATE TABLE eguard_as AS SELECT v FROM eguard_kept'),
	(18, 'ALTER TABLE eguard_base ADD COLUMN v enc_bytea'),
	(19, 'ALTER TABLE eguard_part DETACH PARTITION eguard_part1'),
	(20, 'ALTER TABLE eguard_part ATTACH PARTITION eguard_part1 FOR VALUES FROM (0) TO (10)'),
	(21, 'CREATE MATERIALIZED VIEW eguard_mv AS SELECT id, v FROM eguard_t'),
	(22, 'CREATE UNIQUE INDEX ON eguard_mv (id)'),
	(23, 'ALTER TABLE eguard_t DROP COLUMN v CASCADE')
) AS t(n, stmt) ORDER BY n;

-- ---------- users who have nothing to do with envcrypt ----------

CREATE ROLE eguard_stranger;
CREATE SCHEMA eguard_evil AUTHORIZATION eguard_stranger;
REVOKE USAGE ON SCHEMA envcrypt FROM PUBLIC;
SET ROLE eguard_stranger;
-- nothing of theirs is called by the guard
CREATE FUNCTION eguard_evil.pg_event_trigger_ddl_commands() RETURNS TABLE (classid oid, objid oid) LANGUAGE plpgsql AS
	$$ BEGIN RAISE EXCEPTION 'captured'; END $$;
CREATE FUNCTION eguard_evil.eq(oid, oid) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'captured'; END $$;
CREATE OPERATOR eguard_evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = eguard_evil.eq);
CREATE TYPE eguard_evil.enc_bytea AS (n int);
SET search_path = eguard_evil, pg_catalog;
CREATE TABLE eguard_mine (id serial PRIMARY KEY, n numeric UNIQUE, v eguard_evil.enc_bytea UNIQUE, r int REFERENCES eguard_mine);
CREATE INDEX ON eguard_mine (n, v);
ALTER TABLE eguard_mine ADD COLUMN t text, ADD CHECK (t <> '');
CREATE TABLE key (name text PRIMARY KEY);
ALTER TABLE key DISABLE TRIGGER USER;
ALTER TABLE key DROP COLUMN name;
CREATE TEMP TABLE eguard_temp (id int UNIQUE) ON COMMIT DROP;
DROP TABLE key;
DROP TABLE eguard_mine;
RESET search_path;
DROP OWNED BY eguard_stranger;
RESET ROLE;
GRANT USAGE ON SCHEMA envcrypt TO PUBLIC;
SET search_path = public, envcrypt;
SELECT eguard_try('ALTER EXTENSION plpgsql DROP FUNCTION plpgsql_call_handler()') <> '' AS not_ours;

SELECT guard_drop();
SELECT guard_ddl();

DROP SCHEMA eguard_s CASCADE;
DROP TABLE eguard_t, eguard_parent, eguard_part, eguard_child, eguard_base, eguard_ok, eguard_like, eguard_as, eguard_kept;
DROP DOMAIN eguard_dom2, eguard_dom, eguard_det;
DROP TYPE eguard_row, eguard_detrow;
DROP FUNCTION eguard_try;
DROP ROLE eguard_stranger, eguard_user;

-- Triggers on key tables that are not the guards come and go: those of foreign
-- keys, and what their owner adds.  The guards are known by their function.
CREATE TABLE eguard_fk (k text COLLATE "C" REFERENCES envcrypt.key (name));
ALTER TABLE eguard_fk DROP CONSTRAINT eguard_fk_k_fkey;
ALTER TABLE eguard_fk ADD FOREIGN KEY (k) REFERENCES envcrypt.key (name);
DROP TABLE eguard_fk;
CREATE FUNCTION eguard_note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE TRIGGER eguard_note AFTER INSERT ON envcrypt.audit_log FOR EACH ROW EXECUTE FUNCTION eguard_note();
DROP TRIGGER eguard_note ON envcrypt.audit_log;
ALTER TRIGGER guard_row ON envcrypt.key_grant RENAME TO eguard_renamed;
ALTER TABLE envcrypt.key_grant DISABLE TRIGGER eguard_renamed;
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'envcrypt.key_grant'::regclass AND NOT tgisinternal ORDER BY tgname;
ALTER TRIGGER eguard_renamed ON envcrypt.key_grant RENAME TO guard_row;

-- A command that changes no type leaves other partitions alone: no lock on them.
CREATE TABLE eguard_part (id int, v enc_bytea) PARTITION BY LIST (id);
CREATE TABLE eguard_part_1 PARTITION OF eguard_part FOR VALUES IN (1);
CREATE TABLE eguard_part_2 PARTITION OF eguard_part FOR VALUES IN (2);
CREATE TABLE eguard_part_3 (id int, v enc_bytea);
BEGIN;
ALTER TABLE eguard_part ATTACH PARTITION eguard_part_3 FOR VALUES IN (3);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN ('eguard_part_1'::regclass, 'eguard_part_2'::regclass);
ROLLBACK;
DROP TABLE eguard_part, eguard_part_3;
