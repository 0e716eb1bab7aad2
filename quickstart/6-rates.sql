-- One session, one core.  The time of reading the rows is in every figure.
SET max_parallel_workers_per_gather = 0;

CREATE TEMPORARY TABLE value AS
SELECT 'customer-' || lpad(i::text, 7, '0') || '@example.com' AS plaintext
FROM generate_series(1, 100000) AS i;

CREATE TEMPORARY TABLE sealed AS
SELECT encrypt(plaintext, 'pii') AS randomized, encrypt(plaintext, 'lookup') AS searchable
FROM value;

ANALYZE value, sealed;

CREATE FUNCTION pg_temp.per_second(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	started		timestamptz := clock_timestamp();
	n			bigint;
	rate		numeric;
BEGIN
	EXECUTE query INTO n;
	rate := n / extract(epoch FROM clock_timestamp() - started);
	RETURN CASE WHEN rate >= 950000 THEN 'about ' || round(rate / 1000000, 1) || ' million'
		ELSE 'about ' || to_char(round(rate, -4), 'FM999,999') END;
END
$$;

SELECT 'pii (randomized)' AS key,
	pg_temp.per_second($$SELECT count(encrypt(plaintext, 'pii')) FROM value$$) AS "encrypt/s",
	pg_temp.per_second($$SELECT count(decrypt(randomized)) FROM sealed$$) AS "decrypt/s"
UNION ALL
SELECT 'lookup (searchable)',
	pg_temp.per_second($$SELECT count(encrypt(plaintext, 'lookup')) FROM value$$),
	pg_temp.per_second($$SELECT count(decrypt(searchable)) FROM sealed$$);
