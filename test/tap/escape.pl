# escape.pl: leaving without a server.  A dump of a database with values in
# every place is opened by the tool with an export and the key file, loaded
# into a database that has no envcrypt, and compared with the original.
use strict;
use warnings FATAL => 'all';

use EnvcryptFixture;
use EnvcryptTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main');
my $dir = PostgreSQL::Test::Utils::tempdir();
my ($keyfile) = slurp_file($ENV{TEMP_CONFIG}) =~ /local_key_file = '(.*)'/;
my @tool = ($ENV{ENVCRYPT_CLI}, 'decrypt', '--key-file', $keyfile);

sub slurp { return slurp_file("$dir/$_[0]") }

# dump(DB, FILE, options of pg_dump)
sub dump_db
{
	my ($db, $file, @options) = @_;
	run_log([ 'pg_dump', '-E', 'UTF8', '-f', "$dir/$file", @options, '-d', $node->connstr($db) ]) or die "$db does not dump";
	return "$dir/$file";
}

sub export_keys
{
	my ($db) = @_;
	append_to_file("$dir/$db.json", sql($node, 'SELECT envcrypt.export_keyring()', db => $db));
	return ('--keyring', "$dir/$db.json");
}

# The tool's exit status, standard error, and the file it wrote.
sub decrypt
{
	my ($in, $out, @options) = @_;
	my $err = '';
	IPC::Run::run([ @tool, @options ], '<', "$dir/$in", '>', "$dir/$out", '2>', \$err);
	return ($? >> 8, $err);
}

# load(FILE, DB): into a new database; returns the errors.
sub load
{
	my ($file, $db) = @_;
	my $err = '';
	sql($node, "CREATE DATABASE $db TEMPLATE template0");
	IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr($db), '-f', "$dir/$file" ], '>', \my $out, '2>', \$err);
	return $err;
}

# ---- values of every kind

sql($node, q{SELECT create_key('pii'), create_key('mail', 'aes-256-siv');
	CREATE SCHEMA "Odd.schema";
	CREATE TABLE kinds (id int PRIMARY KEY, plain text, v enc_bytea, d enc_bytea(deterministic) UNIQUE, b enc_bytea,
		bound enc_bytea, context text, parts enc_bytea, region text, const enc_bytea, tags enc_bytea[], born enc_bytea);
	CREATE TABLE "Odd.schema"."Od""d t" ("a, (b) c" int, "sealed ""x" enc_bytea, "con.text" text);
	CREATE TABLE opened (like kinds)});
sql($node, q{ALTER TABLE opened ALTER v TYPE text USING NULL, ALTER d TYPE text USING NULL, ALTER b TYPE bytea USING NULL, ALTER bound TYPE text USING NULL,
	ALTER parts TYPE text USING NULL, ALTER const TYPE text USING NULL, ALTER tags TYPE text[] USING NULL, ALTER born TYPE date USING NULL});
my @texts = (q{''}, q{'plain'}, q{'\N'}, q{'\.'}, q{E'tab\there'}, q{E'two\nlines\r\nand\\\\back\b\f\v'}, q{'\x6162'},
	q{U&'Zo\00eb \+01F600'}, q{'a"b,c'}, q{repeat('long ', 300000)}, q{'{"a","b"}'}, q{'(1,2)'}, q{'NULL'}, q{' '});
my $id = 0;
sql($node, join '', map {
	$id++;
	qq{INSERT INTO opened VALUES ($id, 'row $id \\xec0', $_, left($_, 100) || $id, '\\x00ff5c78', $_ || 'b',
		E'con\\ttext\\\\ $id', $_ || 'p', 'eu,west', $_, ARRAY[$_, NULL, 'x']::text[], DATE '2000-01-01' + $id);\n} } @texts);
sql($node, q{INSERT INTO opened (id, region) VALUES (99, 'r');
	INSERT INTO kinds SELECT id, plain, encrypt(v, 'pii'), encrypt(d, 'mail'), encrypt_bytea(b, 'pii'),
		encrypt_bound(bound, 'pii', context), context, encrypt_bound(parts, 'pii', enc_context('kinds.parts', id, region)), region,
		encrypt_bound(const, 'mail', 'kinds'),
		(SELECT array_agg(encrypt(t, 'pii') ORDER BY n) FROM unnest(tags) WITH ORDINALITY u (t, n)), encrypt(born, 'pii') FROM opened;
	INSERT INTO "Odd.schema"."Od""d t" SELECT i, encrypt_bound('odd ' || i, 'pii', 'c' || i), 'c' || i FROM generate_series(1, 3) i});

my $rows = q{SELECT * FROM %s ORDER BY id};
my @keyring = export_keys('postgres');
dump_db('postgres', 'sealed.sql', '-T', 'opened');
my @columns = (
	'--column' => 'public.kinds.bound=context',
	'--column' => 'kinds.parts=enc_context(=kinds.parts,id,region)',
	'--column' => 'kinds.const==kinds',
	'--bytea-column' => 'kinds.b',
	'--column' => '"Odd.schema"."Od""d t"."sealed ""x"="con.text"');
my ($status, $err) = decrypt('sealed.sql', 'clear.sql', @keyring, '--all', '--without-envcrypt', @columns);
is($status, 0, 'every value is opened') or diag($err);
like($err, qr/^envcrypt: 18 rows, \d+ values opened, 0 failures\n/, 'and counted');
unlike($err, qr/still name/, 'nothing of envcrypt is left');
unlike(slurp('clear.sql'), qr/enc_bytea|^CREATE EXTENSION.*envcrypt|^COPY envcrypt/m, 'neither type, extension nor keys');
is(load('clear.sql', 'clear'), '', 'the result loads without envcrypt');
is(sql($node, q{SELECT count(*) FROM pg_extension WHERE extname = 'envcrypt'}, db => 'clear'), '0', 'which is not there');
is(sql($node, q{SELECT id, plain, v, d, b, bound, context, parts, region, const, tags, born FROM kinds ORDER BY id}, db => 'clear'),
	sql($node, q{SELECT id, plain, v, d, b, bound, context, parts, region, const, tags, born FROM opened ORDER BY id}),
	'every value is what it was');
is(sql($node, q{SELECT * FROM "Odd.schema"."Od""d t" ORDER BY 1}, db => 'clear'), "1|odd 1|c1\n2|odd 2|c2\n3|odd 3|c3", 'names of every kind');
is(sql($node, q{SELECT pg_typeof(v), pg_typeof(b), pg_typeof(tags) FROM kinds LIMIT 1}, db => 'clear'), 'text|bytea|text[]', 'types');

# The same from a custom dump, and beside the extension.
run_log([ 'sh', '-c', "pg_dump -Fc -E UTF8 -T opened -d '" . $node->connstr('postgres') . "' | pg_restore -f '$dir/restored.sql'" ]);
($status) = decrypt('restored.sql', 'restored_clear.sql', @keyring, '--all', @columns);
is($status, 0, 'a custom dump through pg_restore');
is(load('restored_clear.sql', 'beside'), '', 'loads where envcrypt is');
is(sql($node, q{SELECT count(*), count(v) FROM kinds}, db => 'beside'), '15|14', 'with its rows');
run_log([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", '-d', $node->connstr('postgres') ]);
($status, $err) = decrypt('custom.dump', 'none', @keyring);
is($status, 1, 'a custom dump itself is refused');
like($err, qr/pg_restore -f -/, 'with what to do');

# Some columns only: the others stay sealed, and the dump loads.
($status, $err) = decrypt('sealed.sql', 'some.sql', @keyring, '--column', 'kinds.v');
is($status, 0, 'one column') or diag($err);
is(load('some.sql', 'partly'), '', 'the result loads');
is(sql($node, q{SELECT v, envcrypt.decrypt(d) FROM kinds WHERE id IN (2, 8) ORDER BY id}, db => 'partly'),
	sql($node, 'SELECT v, d FROM opened WHERE id IN (2, 8) ORDER BY id'), 'the others open in the server');

# ---- what does not open is left and told

($status, $err) = decrypt('sealed.sql', 'left.sql', @keyring);
is($status, 1, 'without their contexts: exit status 1');
like($err, qr/^envcrypt: table public\.kinds, column b, row 1: .*--bytea-column$/m, 'bytes that are no text');
like($err, qr/^envcrypt: table public\.kinds, column bound, row 1: the value was sealed with a context and none was given$/m, 'a context');
like($err, qr/more of these are only counted/, 'not without end');
is(load('left.sql', 'leftover'), '', 'it loads');
is(sql($node, q{SELECT bound FROM kinds ORDER BY id}, db => 'leftover'), sql($node, 'SELECT bound FROM kinds ORDER BY id'),
	'what was not opened is as it was');
is(sql($node, q{SELECT v, tags FROM kinds ORDER BY id}, db => 'leftover'), sql($node, 'SELECT v, tags FROM opened ORDER BY id'),
	'what needs no context is open');
unlike($err, qr/plain|lines|\\xec/, 'no value is shown');

($status, $err) = decrypt('sealed.sql', 'wrong.sql', @keyring, '--column', 'kinds.bound=region', '--column', 'kinds.nosuch');
is($status, 1, 'a wrong context');
like($err, qr/column bound, row 1: the context is not the one it was sealed with/, 'is said');
like($err, qr/row 15|the input has no column kinds.nosuch/, 'and a column that never came');
($status, $err) = decrypt('sealed.sql', 'wrong.sql', @keyring, '--column', 'kinds.bound=nosuch');
is($status, 1, 'a context of a column the table has not');
like($err, qr/table public.kinds has no column nosuch/, 'ends it');

dump_db('postgres', 'inserts.sql', '--inserts', '-t', 'kinds');
($status, $err) = decrypt('inserts.sql', 'none', @keyring);
is($status, 1, 'a dump of INSERTs');
like($err, qr/outside COPY data/, 'is told');
run_log([ 'pg_dump', '-E', 'LATIN1', '-f', "$dir/latin1.sql", '-t', 'kinds', '-s', '-d', $node->connstr('postgres') ]);
($status, $err) = decrypt('latin1.sql', 'none', @keyring);
is($status, 1, 'a dump in another encoding');
like($err, qr/pg_dump -E UTF8/, 'is refused');

# ---- CSV

sql($node, qq{COPY kinds TO '$dir/kinds.csv' WITH (FORMAT csv, HEADER)});
($status, $err) = decrypt('kinds.csv', 'clear.csv', @keyring, '--csv', '--all', '--column', 'bound=context', '--column', 'const==kinds',
	'--column', 'kinds.parts=enc_context(=kinds.parts,id,region)', '--bytea-column', 'b');
is($status, 0, 'CSV') or diag($err);
sql($node, qq{CREATE TABLE from_csv (LIKE opened); COPY from_csv FROM '$dir/clear.csv' WITH (FORMAT csv, HEADER)});
values_equal($node, $node, sprintf($rows, 'opened'), 'it loads');
is(sql($node, sprintf($rows, 'from_csv')), sql($node, sprintf($rows, 'opened')), 'every value is what it was');

# ---- the database of the other tests: arrays, composite values, partitions, triggers, views

sql($node, q{CREATE ROLE app; CREATE ROLE "Keeper ""2"""; CREATE DATABASE fixture});
EnvcryptTest::install($node, 'fixture');
fill_database($node, 'fixture');
my @fixture = (export_keys('fixture'), '--all', '--without-envcrypt', '--bytea-column', 'person.photo',
	'--column', 'person.bound=enc_context(=person,id)', '--column', 'customer.name=enc_context(=customer.name,id)');
# A hash partition of a sealed value is another one than that of the value.
dump_db('fixture', 'fixture.sql', '--load-via-partition-root');
($status, $err) = decrypt('fixture.sql', 'fixture_clear.sql', @fixture);
is($status, 0, 'the fixture is opened, the disabled key too') or diag($err);
like($err, qr/statements of envcrypt left out\nenvcrypt: \d+ lines still name the schema envcrypt/, 'views and defaults that need envcrypt are told');
load('fixture_clear.sql', 'fixture_clear');
is(sql($node, q{SELECT id, name_plain, name FROM customer ORDER BY id}, db => 'fixture_clear'),
	sql($node, q{SELECT id, name_plain, decrypt(name, enc_context('customer.name', id)) FROM customer ORDER BY id}, db => 'fixture'), 'customers');
is(sql($node, q{SELECT * FROM letters ORDER BY n}, db => 'fixture_clear'),
	sql($node, q{SELECT decrypt(email), n, decrypt(body) FROM letters ORDER BY n}, db => 'fixture'), 'partitions');
my ($person) = slurp('fixture_clear.sql') =~ /^COPY aaa\.person .*?\n(.*?)^\\\.$/ms;
my @got = map { [ split /\t/ ] } split /\n/, $person;
is($got[3][4], '{a,NULL,""}' =~ s/a/"a"/r, 'an array');
is($got[3][5], '(4,"6.0")', 'a composite value');
is($got[3][6], 'off 4', 'a domain');
is($got[3][3], 'bound 4', 'a bound value');

# ---- Sakila

SKIP:
{
	my $sakila = $ENV{ENVCRYPT_SAKILA};
	skip 'ENVCRYPT_SAKILA names no folder with the Sakila database', 6 unless $sakila;
	sql($node, q{CREATE DATABASE sakila;
		DO $$ BEGIN IF to_regrole('postgres') IS NULL THEN CREATE ROLE postgres SUPERUSER; END IF; END $$});
	foreach my $file ("$sakila/schema.sql", "$sakila/data.sql")
	{
		run_log([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr('sakila'), '-f', $file ])
		  or die "$file does not load";
	}
	my @asked = ('SELECT customer_id, first_name, last_name, email FROM customer ORDER BY 1',
		'SELECT address_id, address, phone FROM address ORDER BY 1', 'SELECT staff_id, password FROM staff ORDER BY 1',
		'SELECT v::text FROM customer_list v ORDER BY 1', 'SELECT sum(amount), count(*) FROM payment');
	my @plain = map { sql($node, $_, db => 'sakila') } @asked;
	EnvcryptTest::install($node, 'sakila');
	# Views over the sealed columns would not read them; they are put in again.
	my $views = sql($node, q{SELECT string_agg(format('CREATE VIEW %I AS %s', viewname, definition), E'\n')
		FROM pg_views WHERE viewname IN ('customer_list', 'staff_list')}, db => 'sakila');
	sql($node, q{SELECT create_key('sakila.pii'), create_key('customer.email', 'aes-256-siv');
		DROP VIEW customer_list, staff_list; DROP FUNCTION rewards_report;
		ALTER TABLE customer ALTER email TYPE enc_bytea(deterministic) USING encrypt(email::text, 'customer.email'),
			ALTER last_name TYPE enc_bytea USING encrypt_bound(last_name::text, 'sakila.pii', enc_context('customer.last_name', customer_id));
		ALTER TABLE address ALTER address TYPE enc_bytea USING encrypt_bound(address::text, 'sakila.pii', enc_context('address.address', address_id)),
			ALTER phone TYPE enc_bytea USING encrypt_bound(phone::text, 'sakila.pii', enc_context('address.phone', address_id));
		ALTER TABLE staff ALTER password TYPE enc_bytea USING encrypt(password::text, 'sakila.pii')}, db => 'sakila');
	dump_db('sakila', 'sakila.sql');
	unlike(slurp('sakila.sql'), qr/MARY\.SMITH\@/, 'Sakila: sealed');
	($status, $err) = decrypt('sakila.sql', 'sakila_clear.sql', export_keys('sakila'), '--all', '--without-envcrypt',
		map { ('--column', $_) } 'customer.last_name=enc_context(=customer.last_name,customer_id)',
		'address.address=enc_context(=address.address,address_id)', 'address.phone=enc_context(=address.phone,address_id)');
	is($status, 0, 'Sakila: opened') or diag($err);
	is(load('sakila_clear.sql', 'sakila_clear'), '', 'Sakila: it loads without envcrypt');
	sql($node, $views, db => 'sakila_clear');
	is(join("\n", map { sql($node, $_, db => 'sakila_clear') } @asked), join("\n", @plain), 'Sakila: every value is what it was');
}

done_testing();
