-- As the administrator: the extension, two keys, two roles.
CREATE EXTENSION envcrypt;
ALTER DATABASE shop SET search_path = public, envcrypt;
SET search_path = public, envcrypt;

CREATE ROLE app LOGIN;
CREATE ROLE intern LOGIN;

-- randomized: equal values look different
SELECT create_key('pii');
-- searchable: equal values look equal, so they can be looked up
SELECT create_key('lookup', 'aes-256-siv');

-- a key is used only by those it is granted to; intern gets none
SELECT grant_key('pii', 'app'), grant_key('lookup', 'app');

CREATE TABLE customer (
	id			integer PRIMARY KEY,
	name		text NOT NULL,		-- left readable on purpose
	email		enc_bytea(deterministic) NOT NULL UNIQUE,
	phone		enc_bytea,
	birth_date	enc_bytea,
	preferences	enc_bytea
);
GRANT SELECT, INSERT, UPDATE, DELETE ON customer TO app;
GRANT SELECT ON customer TO intern;
