# A database made elsewhere: Sakila with its personal columns encrypted, dumped,
# restored and read back.  What is looked for in files is first found in the
# plain original's, so that a search which cannot find fails the test.
use strict;
use warnings FATAL => 'all';

use EnvcryptTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $SAKILA = $ENV{ENVCRYPT_SAKILA};
plan skip_all => 'ENVCRYPT_SAKILA names no folder with the Sakila database' unless $SAKILA;

# Everything through the WAL, nothing recycled, no statement in the log.
my $CONF = "wal_level = replica\nmax_wal_size = 2GB\nlog_statement = none\n";

# [table, column, primary key, type]: bound to "table.column" and the row's key.
my @BOUND = (
	[ 'customer', 'last_name', 'customer_id', 'varchar(45)' ],
	[ 'address', 'phone', 'address_id', 'varchar(20)' ],
	[ 'address', 'address', 'address_id', 'varchar(50)' ],
	[ 'staff', 'password', 'staff_id', 'varchar(40)' ]);

# What must come out of every database as it was, the sealed columns first.
my @VALUES = (
	'SELECT customer_id, email, last_name FROM customer ORDER BY 1',
	'SELECT address_id, address, phone FROM address ORDER BY 1',
	'SELECT staff_id, password FROM staff ORDER BY 1');

my @VIEWS = qw(actor_info customer_list film_list nicer_but_slower_film_list
	sales_by_film_category sales_by_store staff_list);

sub load_file
{
	my ($node, $db, $file) = @_;
	run_log([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null',
		'-d', $node->connstr($db), '-f', $file ]) or die "$file does not load";
}

sub file_of
{
	my ($name, $text) = @_;
	my $path = PostgreSQL::Test::Utils::tempdir() . "/$name";
	append_to_file($path, $text);
	return $path;
}

sub create_sakila
{
	my ($node, $db) = @_;

	sql($node, "CREATE DATABASE $db");
	sql($node, q{DO $$ BEGIN
		IF to_regrole('postgres') IS NULL THEN CREATE ROLE postgres SUPERUSER; END IF; END $$});
	load_file($node, $db, "$SAKILA/schema.sql");
}

# The expressions over a table's columns, sealed ones opened, in their order.
sub opened_columns
{
	my ($node, $db, $table) = @_;
	my %bound = map { $_->[1] => $_ } grep { $_->[0] eq $table } @BOUND;
	my @names = split /\n/, sql($node, "SELECT attname FROM pg_attribute
		WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", db => $db);

	return join ', ', map {
		my $b = $bound{$_};
		$b ? "decrypt(${_}_sealed, enc_context('$table.$_', $b->[2]::text))::$b->[3] AS $_" :
			"$table.$_" eq 'customer.email' ? 'decrypt(email)::varchar(50) AS email' : $_;
	} @names;
}

# The table becomes TABLE_data; a view that opens it takes its name and columns,
# so that the application's own views, put in again unchanged, read through it.
# A bound column stays as the place where plaintext arrives, and is always NULL.
sub seal_sakila
{
	my ($node, $db) = @_;
	my @tables = qw(address staff customer);
	my %columns = map { $_ => opened_columns($node, $db, $_) } @tables;
	my %views = map { $_ => sql($node, "SELECT pg_get_viewdef('$_'::regclass)", db => $db) } @VIEWS;
	my $report = sql($node, "SELECT pg_get_functiondef('rewards_report'::regproc)", db => $db);
	my $ddl = "ALTER DATABASE $db SET search_path = public, envcrypt;\n";

	EnvcryptTest::install($node, $db);
	$ddl .= "SELECT create_key('sakila.pii'), create_key('customer.email', 'aes-256-siv');
		DROP INDEX idx_last_name;
		DROP FUNCTION rewards_report;
		ALTER TABLE customer ALTER COLUMN email TYPE enc_bytea(deterministic)
			USING encrypt(email::text, 'customer.email');
		ALTER TABLE customer ADD CONSTRAINT customer_email_key UNIQUE (email);\n";
	foreach (@BOUND)
	{
		my ($table, $column, $key) = @$_;
		my $nullable = $column eq 'password';

		$ddl .= "ALTER TABLE $table ADD COLUMN ${column}_sealed enc_bytea,
				ALTER COLUMN $column DROP NOT NULL;
			CREATE TRIGGER seal_$column BEFORE INSERT OR UPDATE ON $table FOR EACH ROW EXECUTE FUNCTION
				encrypt_trigger('$column', '${column}_sealed', 'sakila.pii', '=$table.$column', '$key');\n";
	}
	$ddl .= "ALTER TABLE $_ DISABLE TRIGGER last_updated; UPDATE $_ SET last_update = last_update;
		ALTER TABLE $_ ENABLE TRIGGER last_updated;\n" for @tables;
	$ddl .= "ALTER TABLE $_->[0] ADD CHECK ($_->[1] IS NULL);\n" for @BOUND;
	$ddl .= "ALTER TABLE $_->[0] ALTER COLUMN $_->[1]_sealed SET NOT NULL;\n"
		for grep { $_->[1] ne 'password' } @BOUND;
	$ddl .= "ALTER TABLE $_ RENAME TO ${_}_data;
		CREATE VIEW $_ AS SELECT $columns{$_} FROM ${_}_data;\n" for @tables;
	$ddl .= "CREATE OR REPLACE VIEW $_ AS $views{$_}\n" for @VIEWS;
	$ddl .= "$report;\n";
	sql($node, $ddl, db => $db);
}

sub whole_view { return "SELECT v::text FROM $_[0] v ORDER BY v::text COLLATE \"C\"" }

# Two databases give the same, not empty, answers.
sub same_answers
{
	my ($a, $db_a, $b, $db_b, $what, @queries) = @_;
	my @differ;

	foreach my $query (@queries)
	{
		my $want = sql($a, $query, db => $db_a);
		push @differ, $query if $want eq '' || sql($b, $query, db => $db_b) ne $want;
	}
	is("@differ", '', $what);
}

# Those of a list of patterns that stand anywhere in files and folders.
sub found
{
	my ($patterns, @paths) = @_;
	local $ENV{LC_ALL} = 'C';
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'grep', '-rhoaF', '-f', $patterns, @paths ], '>', \$out, '2>', \$err);
	die "grep: $err" if $err;
	my %seen = map { $_ => 1 } split /\n/, $out;
	my @seen = sort keys %seen;
	return @seen;
}

sub dump_db
{
	my ($node, $db) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/' . $node->name . "_$db.sql";
	run_log([ 'pg_dump', '-f', $file, $node->connstr($db) ]) or die "$db does not dump";
	return $file;
}

# ---- the plain original, and what can be found of it

my $original = new_cluster('original', conf => $CONF);
create_sakila($original, 'plain');
# This copy of Sakila has no phones; every address gets one of its own.
sql($original, q{CREATE FUNCTION a_phone() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		NEW.phone := '+' || 300000000000 + NEW.address_id::bigint * 982451653 % 600000000000; RETURN NEW; END $$;
	CREATE TRIGGER a_phone BEFORE INSERT ON address FOR EACH ROW EXECUTE FUNCTION a_phone();
	ALTER TABLE address ENABLE ALWAYS TRIGGER a_phone}, db => 'plain');
my $data = slurp_file("$SAKILA/data.sql");
$data =~ s/^ALTER TABLE address DISABLE TRIGGER ALL;//m;
load_file($original, 'plain', file_of('data.sql', $data));
sql($original, 'DROP TRIGGER a_phone ON address; DROP FUNCTION a_phone()', db => 'plain');
# Something for rewards_report(), which looks three months back.
sql($original, q{INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)
	SELECT customer_id, 1, rental_id, 9.99, date_trunc('month', now() - interval '3 months') + interval '1 day'
	FROM rental WHERE customer_id <= 20}, db => 'plain');
sql($original, 'VACUUM ANALYZE', db => 'plain');
sql($original, 'CHECKPOINT');

my %list = (
	email => [ split /\n/, sql($original, 'SELECT email FROM customer', db => 'plain') ],
	phone => [ split /\n/, sql($original, 'SELECT phone FROM address', db => 'plain') ],
	address => [ split /\n/, sql($original, q{SELECT address FROM address}, db => 'plain') ],
	password => [ split /\n/, sql($original, 'SELECT DISTINCT password FROM staff', db => 'plain') ]);
my @everything = grep { length >= 8 } map { @$_ } values %list;
my $patterns = file_of('patterns', join("\n", @everything, map { unpack 'H*', $_ } @everything) . "\n");

my $plain_dump = dump_db($original, 'plain');
my %place = (
	dump => $plain_dump,
	heap => $original->data_dir . '/base/' .
		sql($original, "SELECT oid FROM pg_database WHERE datname = 'plain'"),
	WAL => $original->data_dir . '/pg_wal');
foreach my $where (sort keys %place)
{
	my %found = map { $_ => 1 } found($patterns, $place{$where});
	foreach my $kind (qw(email phone address))
	{
		my $n = grep { $found{$_} } @{ $list{$kind} };
		cmp_ok($n, '>=', 50, "control: 50 values of $kind are found in the plain original's $where") or
			BAIL_OUT('a search that finds nothing proves nothing');
	}
}
my $hex = file_of('hex', sql($original, q{SELECT convert_to(email, 'UTF8') FROM customer}, db => 'plain'));
cmp_ok(scalar(found($patterns, $hex)), '>=', 50, 'control: hexadecimal e-mails are found too');

# ---- encrypted in place

sql($original, 'CREATE DATABASE sealed TEMPLATE plain');
seal_sakila($original, 'sealed');
is(sql($original, q{SELECT string_agg(DISTINCT i.algorithm || ' ' || i.has_context, ', ')
	FROM customer_data, enc_info(email) i}, db => 'sealed'), 'aes-256-siv false', 'e-mails are searchable, bound to no row');
is(sql($original, q{SELECT string_agg(DISTINCT i.algorithm || ' ' || i.has_context, ', ')
	FROM customer_data, enc_info(last_name_sealed) i}, db => 'sealed'), 'xaes-256-gcm true', 'last names are bound to theirs');
same_answers($original, 'plain', $original, 'sealed', 'every value reads as it was', @VALUES);
same_answers($original, 'plain', $original, 'sealed', "$_ shows what it showed", whole_view($_)) for @VIEWS;
same_answers($original, 'plain', $original, 'sealed', 'rewards_report() too',
	'SELECT r::text FROM rewards_report(1, 1) r ORDER BY 1');

sql($original, q{CREATE ROLE clerk LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk}, db => 'sealed');
fails_with($original, '42501', 'SELECT * FROM customer_list', 'a view gives nobody the use of a key',
	db => 'sealed', user => 'clerk');
sql($original, q{SELECT grant_key('sakila.pii', 'clerk', '{decrypt}')}, db => 'sealed');
is(sql($original, whole_view('customer_list'), db => 'sealed', user => 'clerk'),
	sql($original, whole_view('customer_list'), db => 'plain'), 'the grant does');

# ---- look-up by e-mail

my $lookup = q{SELECT customer_id FROM customer_data
	WHERE email = ANY (search_terms('MARY.SMITH@sakilacustomer.org', 'customer.email'))};
is(sql($original, $lookup, db => 'sealed'), '1', 'a customer is found by e-mail');
like(sql($original, "EXPLAIN (COSTS off) $lookup", db => 'sealed'),
	qr/Index (?:Only )?Scan using customer_email_key/, 'by the unique index');

# ---- new rows

my $insert = sub {
	my ($email, $on_conflict) = @_;
	return "INSERT INTO customer_data (store_id, first_name, last_name, email, address_id)
		VALUES (1, 'ADA', 'LOVELACE-KING', encrypt('$email', 'customer.email'), 1) $on_conflict";
};
sql($original, $insert->('ADA@example.org', ''), db => 'sealed');
is(sql($original, q{SELECT c.last_name, d.last_name IS NULL, c.email,
		decrypt(d.last_name_sealed, enc_context('customer.last_name', d.customer_id::text))
	FROM customer c JOIN customer_data d USING (customer_id) WHERE c.first_name = 'ADA'}, db => 'sealed'),
	'LOVELACE-KING|t|ADA@example.org|LOVELACE-KING', 'a new row gets its context from the trigger');
is(sql($original, q{UPDATE customer_data SET last_name = 'BYRON' WHERE first_name = 'ADA';
	SELECT last_name FROM customer WHERE first_name = 'ADA'}, db => 'sealed'), 'BYRON', 'so does a new value');
fails_with($original, '23505', $insert->('ADA@example.org', ''), 'an e-mail is taken once', db => 'sealed');
sql($original, $insert->('ADA@example.org', 'ON CONFLICT (email) DO NOTHING'), db => 'sealed');
sql($original, $insert->('ADA@example.org', q{ON CONFLICT (email) DO UPDATE SET first_name = 'AUGUSTA'}),
	db => 'sealed');
is(sql($original, q{SELECT first_name, last_name FROM customer WHERE email = 'ADA@example.org'}, db => 'sealed'),
	'AUGUSTA|BYRON', 'ON CONFLICT (email) sees the row that is there');
sql($original, q{DELETE FROM customer_data WHERE first_name = 'AUGUSTA'}, db => 'sealed');

# ---- bound values stay where they are

my $swap = q{BEGIN; UPDATE customer_data d SET last_name_sealed = o.last_name_sealed
	FROM customer_data o WHERE (d.customer_id, o.customer_id) IN ((1, 2), (2, 1));};
fails_with($original, '22000', "$swap SELECT last_name FROM customer WHERE customer_id = $_",
	"swapped with another row's, value $_ does not open", db => 'sealed') for 1, 2;
fails_with($original, '22000', q{BEGIN; UPDATE address_data SET phone_sealed = address_sealed WHERE address_id = 5;
	SELECT phone FROM address WHERE address_id = 5}, "nor one in another column's place", db => 'sealed');

# ---- restored elsewhere

# The whole data directory and the log hold none of it.
sub holds_nothing
{
	my ($node, $db, $what) = @_;

	sql($node, 'VACUUM ANALYZE', db => $db);
	sql($node, 'CHECKPOINT');
	my $dump = dump_db($node, $db);
	is(join("\n", found($patterns, $dump)), '', "$what: nothing in its dump");
	is(join("\n", found($patterns, $node->data_dir, $node->logfile)), '',
		"$what: nothing in heap, WAL, log or any other file");
	cmp_ok(scalar(found(file_of($node->name . '_place', "Xintai\n"), $node->data_dir . '/pg_wal')), '>', 0,
		"$what: its WAL is there, with what was not encrypted");
}

my $sealed_dump = dump_db($original, 'sealed');
my $restored = new_cluster('restored', conf => $CONF, extension => 0);
sql($restored, q{CREATE DATABASE sealed; CREATE ROLE clerk;
	DO $$ BEGIN IF to_regrole('postgres') IS NULL THEN CREATE ROLE postgres SUPERUSER; END IF; END $$});
load_file($restored, 'sealed', $sealed_dump);
sql($restored, 'ALTER DATABASE sealed SET search_path = public, envcrypt');
same_answers($original, 'plain', $restored, 'sealed', 'restored: every value reads as it was', @VALUES);
# The others concatenate names in whatever order a plan gives them.
same_answers($original, 'plain', $restored, 'sealed', 'restored: views over them show what they showed',
	map { whole_view($_) } qw(customer_list staff_list sales_by_store));
holds_nothing($restored, 'sealed', 'restored');

# ---- never anything but bind parameters

my $bound = new_cluster('bound', conf => $CONF, extension => 0);
create_sakila($bound, 'sealed');
seal_sakila($bound, 'sealed');
load_file($bound, 'sealed', file_of('places.sql', join "\n",
	"SET search_path = public, pg_catalog;\n",
	$data =~ /^(ALTER TABLE (?:country|city|store) DISABLE.*?^ALTER TABLE \w+ ENABLE TRIGGER ALL;\n)/msg));

# insert_bound(TABLE, COLUMNS, SELECT, EXPRESSION..): the select's columns on
# the original, from the second on as parameters of an extended-protocol INSERT.
sub insert_bound
{
	my ($table, $columns, $select, @values) = @_;
	my ($n, $script, @define) = (0, '');

	foreach my $row (split /\n/, sql($original, $select, db => 'plain'))
	{
		my ($id, @fields) = split /\|/, $row, -1;
		my @params = map { my $name = 'p' . $n++; push @define, '-D', "$name=$_"; ":${name}::text" } @fields;
		$script .= "INSERT INTO $table ($columns) VALUES (" .
			join(', ', map { (my $v = $_) =~ s/\bID\b/$id/g; $v =~ s/\$(\d)/$params[$1 - 1]/g; $v } @values) . ");\n";
	}
	$script .= "INSERT INTO seen SELECT query, :p0::text = '' FROM pg_stat_activity WHERE pid = pg_backend_pid();\n";
	$bound->command_ok([ 'pgbench', '-n', '-t', '1', '-M', 'extended', '-f', file_of("$table.pgbench", $script),
		@define, $bound->connstr('sealed') ], "$table is inserted with bind parameters");
}

sql($bound, 'CREATE TABLE seen (query text, is_empty bool)', db => 'sealed');
insert_bound('address_data', 'address_id, address_sealed, phone_sealed, district, city_id',
	'SELECT address_id, city_id, address, phone FROM address', 'ID',
	q{encrypt_bound($2, 'sakila.pii', enc_context('address.address', 'ID'))},
	q{encrypt_bound($3, 'sakila.pii', enc_context('address.phone', 'ID'))}, q{'somewhere'}, '$1::int');
insert_bound('staff_data', 'staff_id, first_name, last_name, username, address_id, store_id, password_sealed',
	'SELECT staff_id, first_name, last_name, username, address_id, store_id, password FROM staff',
	'ID', '$1', '$2', '$3', '$4::int', '$5::int',
	q{encrypt_bound($6, 'sakila.pii', enc_context('staff.password', 'ID'))});
insert_bound('customer_data', 'customer_id, store_id, first_name, last_name_sealed, email, address_id, activebool',
	'SELECT customer_id, store_id, first_name, last_name, email, address_id, activebool FROM customer',
	'ID', '$1::int', '$2', q{encrypt_bound($3, 'sakila.pii', enc_context('customer.last_name', 'ID'))},
	q{encrypt($4, 'customer.email')}, '$5::int', '$6::bool');
is(sql($bound, q{SELECT count(*) FILTER (WHERE query LIKE '%$1%') FROM seen}, db => 'sealed'), '3',
	'the server saw parameters, not literals');
same_answers($original, 'plain', $bound, 'sealed', 'bound: every value reads as it was', @VALUES);
same_answers($original, 'plain', $bound, 'sealed', 'bound: views over them too',
	'SELECT id, name, address, phone, city FROM customer_list ORDER BY 1',
	'SELECT id, name, address, phone, city FROM staff_list ORDER BY 1');
is(sql($bound, $lookup, db => 'sealed'), '1', 'bound: a customer is found by e-mail');
holds_nothing($bound, 'sealed', 'bound');

done_testing();
