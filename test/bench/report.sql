-- Markdown.  Variables: machine, versions, short.
\pset format unaligned
\pset tuples_only on

-- Processor time where there is one: others on the machine disturb it less.
CREATE TEMP VIEW taken AS
SELECT part, what, round, n, coalesce(cpu_ms, wall_ms) AS ms FROM bench.result;

-- Each time paired with the floor's and pgcrypto's of the same round.
CREATE TEMP VIEW paired AS
SELECT r.part, r.what, r.round, r.ms * 1e6 / r.n AS ns,
	(r.ms / r.n) / (f.ms / f.n) AS floors, (p.ms / p.n) / (r.ms / r.n) AS faster
FROM taken r
LEFT JOIN taken f ON (f.part, f.round, f.what) = (r.part, r.round, 'floor')
LEFT JOIN taken p ON (p.part, p.round) = (r.part, r.round) AND p.what IN ('pgcrypto decrypt', 'pgcrypto encrypt');

CREATE TEMP VIEW summary AS
SELECT part, what, count(*) AS rounds,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY ns) AS ns,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY floors) AS floors, min(floors) AS floors_min, max(floors) AS floors_max,
	percentile_cont(0.5) WITHIN GROUP (ORDER BY faster) AS faster, min(faster) AS faster_min, max(faster) AS faster_max
FROM paired GROUP BY part, what;

-- "2.51 (2.40-2.63)"
CREATE FUNCTION pg_temp.range(median float8, low float8, high float8) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN median IS NULL THEN '' WHEN median >= 100 THEN format('%s', round(median::numeric, 0))
		ELSE format('%s (%s–%s)', round(median::numeric, 2), round(low::numeric, 2), round(high::numeric, 2)) END $$;

SELECT format('Measured on %s, %s. Medians of %s rounds with the lowest and highest in brackets.%s', :'machine', :'versions',
	max(rounds), CASE WHEN :'short' = '1' THEN ' **A short run: good for nothing but to show that it works.**' ELSE '' END)
FROM summary WHERE part LIKE 'read %';

\qecho
\qecho '| | reached | limit | |'
\qecho '|---|---|---|---|'
SELECT format('| %s | %s | %s | %s |', what, CASE WHEN unit = 'x' THEN pg_temp.range(median, low, high) ELSE round(median)::text || unit END,
	CASE WHEN above THEN 'at least ' ELSE 'at most ' END || "limit" || CASE WHEN unit = 'x' THEN '' ELSE unit END,
	CASE WHEN median IS NULL THEN 'not measured' WHEN CASE WHEN above THEN median >= "limit" ELSE median <= "limit" END THEN 'reached' ELSE 'missed' END)
FROM (
	SELECT 1 AS ord, 'scan of 64 B values, decrypt / floor' AS what, floors AS median, floors_min AS low, floors_max AS high,
		7 AS "limit", false AS above, 'x' AS unit FROM summary WHERE (part, what) = ('read 64', 'decrypt')
	UNION ALL SELECT 2, 'the same, pgcrypto decrypt / decrypt', faster, faster_min, faster_max, 2.5, true, 'x'
	FROM summary WHERE (part, what) = ('read 64', 'decrypt')
	UNION ALL SELECT 3, 'the same, written by 1,000 rows a transaction / floor', floors, floors_min, floors_max, 10, false, 'x'
	FROM summary WHERE (part, what) = ('read 64', 'decrypt, 1,000 rows a transaction')
	UNION ALL SELECT 4 + (part = 'write 8192')::int, 'INSERT .. SELECT of ' || substr(part, 7) || ' B values, encrypt / plain',
		floors, floors_min, floors_max, 2.5, false, 'x' FROM summary WHERE part LIKE 'write %' AND what = 'encrypt'
	UNION ALL SELECT 6, 'first call in a fresh session, decrypt / pgcrypto decrypt', 1 / faster, 1 / faster_max, 1 / faster_min, 2, false, 'x'
	FROM summary WHERE (part, what) = ('first call', 'decrypt')
	UNION ALL SELECT 7, 'the same with shared_preload_libraries = envcrypt', 1 / faster, 1 / faster_max, 1 / faster_min, 2, false, 'x'
	FROM summary WHERE (part, what) = ('first call, preloaded', 'decrypt')
	UNION ALL SELECT 8, 'memory per key in use (malloc)', percentile_cont(0.5) WITHIN GROUP (ORDER BY bytes_per_key), 0, 0, 2048, false, ' B'
	FROM bench.memory WHERE what = 'malloc'
) t ORDER BY ord;

\qecho
\qecho '| values of | | ns per value | / floor | faster than pgcrypto |'
\qecho '|---|---|---|---|---|'
SELECT format('| %s B, %s | %s | %s | %s | %s |', s.size, s.kind, s.what, round(s.ns),
	CASE WHEN s.what = 'floor' THEN '' ELSE pg_temp.range(floors, floors_min, floors_max) END,
	CASE WHEN s.what ~ '^(floor|pgcrypto)' THEN '' ELSE pg_temp.range(faster, faster_min, faster_max) END)
FROM (SELECT *, split_part(part, ' ', 1) AS kind, split_part(part, ' ', 2)::int AS size FROM summary
	WHERE part ~ '^(read|write) ') s
JOIN bench.statement t ON (t.part, t.what) = (s.part, s.what)
ORDER BY s.kind, s.size, t.ord;

\qecho
\qecho '| first call in a fresh session | µs | lowest–highest |'
\qecho '|---|---|---|'
SELECT format('| %s%s | %s | %s–%s |', what, substr(part, length('first call') + 1),
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms * 1000)), round(min(ms * 1000)), round(max(ms * 1000)))
FROM taken WHERE part LIKE 'first call%' GROUP BY part, what ORDER BY part, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms);

\qecho
\qecho '| memory per key in use | bytes |'
\qecho '|---|---|'
SELECT format('| %s | %s |', what, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY bytes_per_key)))
FROM bench.memory GROUP BY what ORDER BY what;

\qecho
\qecho '| OpenSSL alone, AES-256-GCM | ns before | ns after |'
\qecho '|---|---|---|'
SELECT format('| %s | %s | %s |', what,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms * 1e6) FILTER (WHERE part = 'openssl before')),
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms * 1e6) FILTER (WHERE part = 'openssl after')))
FROM taken WHERE part LIKE 'openssl %' GROUP BY what ORDER BY what;
