SELECT c.name AS "column", i.algorithm,
	round(avg(i.plaintext_bytes), 1) AS "plaintext bytes",
	round(avg(octet_length(c.value::bytea)), 1) AS "stored bytes",
	max(octet_length(c.value::bytea) - i.plaintext_bytes) AS overhead
FROM customer,
	LATERAL (VALUES ('email', email), ('phone', phone), ('birth_date', birth_date),
		('preferences', preferences)) AS c (name, value),
	LATERAL enc_info(c.value) AS i
GROUP BY c.name, i.algorithm
ORDER BY c.name;
