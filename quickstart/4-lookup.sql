SELECT id, name, decrypt(phone) AS phone
FROM customer
WHERE email = ANY (search_terms(:'email', 'lookup'));
