-- Grants against what happens to roles, and other people's functions against
-- what envcrypt promises.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS envcrypt;
SET search_path = public, envcrypt;

-- The SQLSTATE a statement ends with.
CREATE FUNCTION gr_state(stmt text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE stmt;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

SELECT create_key('gr-pii'), create_key('gr-det', 'aes-256-siv');
CREATE TABLE gr_value AS SELECT encrypt('hello', 'gr-pii') AS v;
GRANT SELECT ON gr_value TO PUBLIC;

-- a role that is renamed keeps nothing until it has its name back ..
CREATE ROLE regress_gr_a;
SELECT grant_key('gr-pii', 'regress_gr_a', '{decrypt}');
ALTER ROLE regress_gr_a RENAME TO regress_gr_b;
SELECT grantee, active FROM grants WHERE key = 'gr-pii';
SET ROLE regress_gr_b;
SELECT decrypt(v) FROM gr_value;
RESET ROLE;
-- .. and what is taken from it under its new name does not come back with the old one
SELECT revoke_key('gr-pii', 'regress_gr_b');
ALTER ROLE regress_gr_b RENAME TO regress_gr_a;
SET ROLE regress_gr_a;
SELECT gr_state('SELECT decrypt(v) FROM gr_value');
RESET ROLE;
SELECT count(*) FROM grants WHERE key = 'gr-pii';

-- nothing to take: said, and not noted as done
SET client_min_messages = notice;
SELECT revoke_key('gr-pii', 'regress_gr_a');
SET client_min_messages = warning;
SELECT gr_state($$SELECT revoke_key('gr-pii', 'regress_gr_nobody')$$);
SELECT action, count(*) FROM audit WHERE key = 'gr-pii' GROUP BY action ORDER BY action;

-- the audit log tells the role that acted from the one that was logged in
GRANT EXECUTE ON FUNCTION grant_key(text, name, text[]) TO regress_gr_a;
SELECT grant_key('gr-pii', 'regress_gr_a', '{manage}');
SET ROLE regress_gr_a;
SELECT grant_key('gr-pii', 'public', '{encrypt}');
RESET ROLE;
SELECT actor, session_actor = session_user AS logged_in, detail FROM audit WHERE key = 'gr-pii' ORDER BY at DESC LIMIT 1;
REVOKE EXECUTE ON FUNCTION grant_key(text, name, text[]) FROM regress_gr_a;

-- ON UPDATE CASCADE seals again as the owner of the referencing table, who
-- needs the key
CREATE ROLE regress_gr_owner;
CREATE TABLE gr_parent (id int PRIMARY KEY);
CREATE TABLE gr_child (id int REFERENCES gr_parent ON UPDATE CASCADE, plain text, sealed enc_bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON gr_child FOR EACH ROW
	EXECUTE FUNCTION encrypt_trigger('plain', 'sealed', 'gr-pii', 'id');
INSERT INTO gr_parent VALUES (1);
INSERT INTO gr_child VALUES (1, 'kept');
ALTER TABLE gr_child OWNER TO regress_gr_owner;
SELECT gr_state('UPDATE gr_parent SET id = 2');
SELECT grant_key('gr-pii', 'regress_gr_owner');
UPDATE gr_parent SET id = 2;
SELECT id, decrypt(sealed, enc_context(id)) FROM gr_child;

-- a key of a newer release is kept, and says so
INSERT INTO envcrypt.key VALUES ('gr-new', 'gr-new', 'kc-xaes-256-gcm', '{local:default}', true, 'x', now()),
	('gr-newer', 'gr-newer', 'of-the-future', '{local:default}', true, 'x', now());
INSERT INTO envcrypt.key_version VALUES
	('\x1111111111111111', 'gr-new', 1, 'primary', false, 'kc-xaes-256-gcm', decode(repeat('00', 32), 'hex'), '{}', NULL, now(), now()),
	('\x2222222222222222', 'gr-newer', 1, 'primary', false, 'of-the-future', decode(repeat('00', 32), 'hex'), '{}', NULL, now(), now());
SELECT encrypt('x', 'gr-new');
SELECT gr_state($$SELECT encrypt('x', 'gr-newer')$$), gr_state($$SELECT search_terms('x', 'gr-new')$$),
	gr_state($$SELECT search_terms('x', 'gr-newer')$$), gr_state($$SELECT decrypt('\xec0100002222222222222222'
		'000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000')$$);
-- kvids that no envelope can have
SELECT gr_state($$INSERT INTO envcrypt.key_version VALUES ('\x0000000000000000', 'gr-new', 2, 'pending', false, 'x',
	decode(repeat('00', 32), 'hex'), '{}', NULL, now(), now())$$);

-- a type's own errors are hidden, except what a caller retries
CREATE FUNCTION gr_retry(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF $1 = 'retry' THEN RAISE SQLSTATE '40001'; END IF;
	RETURN $1 IS NULL;
END $$;
CREATE DOMAIN gr_domain AS text CHECK (gr_retry(VALUE));
SELECT gr_state($$SELECT decrypt_as(encrypt('retry', 'gr-pii'), NULL::gr_domain)$$),
	gr_state($$SELECT decrypt_as(encrypt('other', 'gr-pii'), NULL::gr_domain)$$);

DROP TABLE gr_child, gr_parent, gr_value;
DROP ROLE regress_gr_a;
DROP ROLE regress_gr_owner;
