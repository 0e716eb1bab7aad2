-- envcrypt 0.1
\echo Use "CREATE EXTENSION envcrypt" to load this file. \quit

-- A member like the rest: it goes with the extension, and one that somebody
-- made beforehand is refused.
CREATE SCHEMA envcrypt;
COMMENT ON SCHEMA envcrypt IS 'Column encryption: the type enc_bytea, encrypt() and decrypt(), and their keys.';
GRANT USAGE ON SCHEMA envcrypt TO PUBLIC;
