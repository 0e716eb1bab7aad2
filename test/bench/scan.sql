-- Reading and writing values of one size.
-- Variables: size, rows, rounds; insert_rows (0: no INSERT..SELECT), transactions (0: none).
SET client_min_messages = warning;
DROP TABLE IF EXISTS bench.plain, bench.ours, bench.raw, bench.pgp;
CREATE TABLE bench.plain (id int, t text);
CREATE TABLE bench.ours (id int, v envcrypt.enc_bytea);
CREATE TABLE bench.raw (id int, v bytea);
CREATE TABLE bench.pgp (id int, v bytea);
ALTER TABLE bench.plain ALTER t SET STORAGE external;
ALTER TABLE bench.raw ALTER v SET STORAGE external;
ALTER TABLE bench.pgp ALTER v SET STORAGE external;
INSERT INTO bench.plain SELECT i, bench.noise(:size) FROM generate_series(1, :rows) i;
INSERT INTO bench.ours SELECT id, envcrypt.encrypt(t, 'bench') FROM bench.plain;
INSERT INTO bench.raw SELECT id, pgcrypto.encrypt(convert_to(t, 'UTF8'), '0123456789abcdef0123456789abcdef', 'aes')
	FROM bench.plain;
INSERT INTO bench.pgp SELECT id, pgcrypto.pgp_sym_encrypt(t, 'a password', 'cipher-algo=aes256')
	FROM bench.plain WHERE id <= 50;
VACUUM (FREEZE, ANALYZE) bench.plain, bench.ours, bench.raw, bench.pgp;

INSERT INTO bench.statement VALUES
	('read ' || :size, 1, 'floor', :rows, '', 'SELECT sum(bench.touch(t)) FROM bench.plain'),
	('read ' || :size, 2, 'decrypt', :rows, '', 'SELECT sum(octet_length(envcrypt.decrypt(v))) FROM bench.ours'),
	('read ' || :size, 3, 'pgcrypto decrypt', :rows, '',
	 'SELECT sum(octet_length(pgcrypto.decrypt(v, ''0123456789abcdef0123456789abcdef'', ''aes''))) FROM bench.raw'),
	('read ' || :size, 4, 'decrypt_bytea', :rows, '',
	 'SELECT sum(octet_length(envcrypt.decrypt_bytea(v))) FROM bench.ours'),
	('read ' || :size, 5, 'pgcrypto pgp_sym_decrypt', 50, '',
	 'SELECT sum(octet_length(pgcrypto.pgp_sym_decrypt(v, ''a password''))) FROM bench.pgp');

SELECT :transactions > 0 AS transactions_too, :insert_rows > 0 AS insert_too \gset

\if :transactions_too
CREATE TABLE bench.search (id int, v envcrypt.enc_bytea(deterministic));
INSERT INTO bench.search SELECT id, envcrypt.encrypt(t, 'bench.search') FROM bench.plain;
CALL bench.write_in_transactions(:transactions);
SET work_mem = '1GB';
CREATE TABLE bench.shuffled AS SELECT * FROM bench.transactions ORDER BY random();
RESET work_mem;
VACUUM (FREEZE, ANALYZE) bench.search, bench.transactions, bench.shuffled;
INSERT INTO bench.statement VALUES
	('read ' || :size, 6, 'decrypt, searchable key', :rows, '',
	 'SELECT sum(octet_length(envcrypt.decrypt(v))) FROM bench.search'),
	('read ' || :size, 7, 'decrypt, 1,000 rows a transaction', :transactions * 1000, '',
	 'SELECT sum(octet_length(envcrypt.decrypt(v))) FROM bench.transactions'),
	('read ' || :size, 8, 'decrypt, the same rows shuffled', :transactions * 1000, '',
	 'SELECT sum(octet_length(envcrypt.decrypt(v))) FROM bench.shuffled');
\endif
CHECKPOINT;
CALL bench.run('read ' || :size, :rounds);

\if :transactions_too
DROP TABLE bench.search, bench.transactions, bench.shuffled;
\endif

\if :insert_too
CREATE TABLE bench.to_plain (LIKE bench.plain INCLUDING ALL);
CREATE TABLE bench.to_ours (LIKE bench.ours INCLUDING ALL);
CREATE TABLE bench.to_raw (LIKE bench.raw INCLUDING ALL);
INSERT INTO bench.statement VALUES
	('write ' || :size, 1, 'floor', :insert_rows, 'TRUNCATE bench.to_plain',
	 'INSERT INTO bench.to_plain SELECT * FROM bench.plain WHERE id <= ' || :insert_rows),
	('write ' || :size, 2, 'encrypt', :insert_rows, 'TRUNCATE bench.to_ours',
	 'INSERT INTO bench.to_ours SELECT id, envcrypt.encrypt(t, ''bench'') FROM bench.plain WHERE id <= ' || :insert_rows),
	('write ' || :size, 3, 'pgcrypto encrypt', :insert_rows, 'TRUNCATE bench.to_raw',
	 'INSERT INTO bench.to_raw SELECT id, pgcrypto.encrypt(convert_to(t, ''UTF8''), ''0123456789abcdef0123456789abcdef'', ''aes'') '
	 'FROM bench.plain WHERE id <= ' || :insert_rows);
CALL bench.run('write ' || :size, :rounds);
DROP TABLE bench.to_plain, bench.to_ours, bench.to_raw;
\endif
