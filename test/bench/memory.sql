-- What a backend holds per key it has used: one value of each of 1,000 keys,
-- less what the first hundred brought along.
\o /dev/null
SELECT sum(octet_length(envcrypt.decrypt(v))) FROM bench.many WHERE id <= 100;
SELECT bench.malloced() AS malloced, bench.resident() AS resident \gset
SELECT sum(octet_length(envcrypt.decrypt(v))) FROM bench.many WHERE id > 100;
SELECT bench.malloced() AS malloced_after, bench.resident() AS resident_after \gset
INSERT INTO bench.memory VALUES
	('malloc', (:malloced_after - :malloced) / 900.0),
	('resident', (:resident_after - :resident) / 900.0);
