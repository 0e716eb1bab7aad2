SELECT name, decrypt(email) AS email, decrypt(phone) AS phone,
	decrypt_as(birth_date, NULL::date) AS born,
	decrypt_as(preferences, NULL::jsonb) ->> 'language' AS lang
FROM customer
WHERE id <= 9
ORDER BY id;
