-- envcrypt 0.1 to 0.2: keys can be exported and imported.
\echo Use "ALTER EXTENSION envcrypt UPDATE" to load this file. \quit

CREATE FUNCTION envcrypt.export_keyring(key text DEFAULT NULL) RETURNS json
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_export_keyring';
CREATE FUNCTION envcrypt.import_keyring(keyring json) RETURNS integer
	LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'envcrypt_import_keyring';
REVOKE ALL ON FUNCTION envcrypt.export_keyring(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION envcrypt.import_keyring(json) FROM PUBLIC;
COMMENT ON FUNCTION envcrypt.export_keyring(text) IS 'A key, or all of them, as one JSON document: labels, versions, commitments and wraps, no secrets and no grants. With the root keys it opens values without this database. Needs manage on what is exported.';
COMMENT ON FUNCTION envcrypt.import_keyring(json) IS 'Adds the keys, versions and wraps of an export that are not here yet, changes none that are, and returns how many rows it added. Superusers only. 55000 when a version is here with another commitment, 42710 when a key is here with another algorithm or label.';
