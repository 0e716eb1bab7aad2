-- As app: 1,000 customers from the CSV, encrypted on their way into the table.
CREATE TEMPORARY TABLE plain (
	id			integer,
	name		text,
	email		text,
	phone		text,
	birth_date	date,
	preferences	jsonb
);
\copy plain FROM 'customers.csv' (FORMAT csv, HEADER)

INSERT INTO customer
SELECT id, name, encrypt(email, 'lookup'), encrypt(phone, 'pii'),
	encrypt(birth_date, 'pii'), encrypt(preferences, 'pii')
FROM plain;

-- every value comes back as it was
SELECT CASE WHEN count(*) = 1000 THEN count(*) || ' customers stored; every value read back equals the CSV'
	ELSE 'only ' || count(*) || ' customers read back as stored' END AS loaded
FROM plain JOIN customer USING (id)
WHERE plain.email = decrypt(customer.email)
	AND plain.phone = decrypt(customer.phone)
	AND plain.birth_date = decrypt_as(customer.birth_date, NULL::date)
	AND plain.preferences = decrypt_as(customer.preferences, NULL::jsonb)
\gset
\echo :loaded
