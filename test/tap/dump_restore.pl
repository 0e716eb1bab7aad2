# dump_restore.pl: every way to dump and restore a database with sealed values
# gives back every byte, every value and every key; what does not work says so.

use strict;
use warnings FATAL => 'all';

use EnvcryptFixture;
use EnvcryptTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my ($key_file) = slurp_file($ENV{TEMP_CONFIG}) =~ /local_key_file = '(.+)'/;

# A second machine: other role OIDs, and a key file of its own, at first not
# the right one.
my $source = new_cluster('source');
my $other = new_cluster('other', extension => 0,
	conf => "envcrypt.local_key_file = '" . keygen("$dir/keys.json") . "'");

# ---- helpers

sub connection
{
	my ($node, $db) = @_;
	return ('-h', $node->host, '-p', $node->port, '-d', $db);
}

# dump_to(NAME, ARGS..): of the source; the file's path.
sub dump_to
{
	my ($name, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	command_ok([ 'pg_dump', connection($source, 'src'), '-f', "$dir/$name", @args ], "pg_dump @args");
	return "$dir/$name";
}

sub new_database
{
	my ($node, $db) = @_;
	sql($node, "CREATE DATABASE $db");
	return;
}

# load(NODE, DB, FILE, ARGS..): what psql said on stderr.
sub load
{
	my ($node, $db, $file, @args) = @_;
	my ($out, $err) = run_command([ 'psql', '-Xq', connection($node, $db), '-f', $file, @args ]);
	return $err;
}

# restore(NODE, DB, FILE, ARGS..): what pg_restore said on stderr.
sub restore
{
	my ($node, $db, $file, @args) = @_;
	my ($out, $err) = run_command([ 'pg_restore', connection($node, $db), @args, $file ]);
	return $err;
}

# What app may do in a database; to decrypt with pii is public's.
sub app_may
{
	my ($node, $db) = @_;
	return join ' ', map { sqlstate($node, $_, db => $db, user => 'app') } (
		q{SELECT envcrypt.encrypt('x', 'mail')},
		q{SELECT envcrypt.decrypt(email) FROM aaa.person},
		q{SELECT envcrypt.encrypt('x', 'pii')},
		q{SELECT envcrypt.decrypt(note) FROM aaa.person});
}

my $ACTIVE = '00000 00000 00000 00000';
my $INERT = '42501 42501 42501 00000';

# ---- the source

sql($source, q{CREATE ROLE app LOGIN; CREATE ROLE "Keeper ""2""";
	CREATE ROLE dumper LOGIN; GRANT pg_read_all_data TO dumper; CREATE DATABASE src});
EnvcryptTest::install($source, 'src');
fill_database($source, 'src');
my $before = snapshot($source, 'src');
my $persons = snapshot($source, 'src', only => 'person');
guards_work($source, 'src', 'source');
values_usable($source, 'src', 'source');
is(app_may($source, 'src'), $ACTIVE, 'source: grants are active');

my $plain = dump_to('plain.sql');
my $custom = dump_to('custom', '-Fc');
my $directory = dump_to('directory', '-Fd', '-j2');

# ---- what a dump contains

sub dump_contents
{
	my $text = slurp_file($plain);
	my @secrets = slurp_file($key_file) =~ /"secret": *"([0-9a-f]{64})"/g;

	is(scalar(@secrets), 1, 'the key file holds a root secret');
	is(scalar(grep { $text =~ /$_/i } @secrets), 0, 'a dump does not contain it');
	is(scalar(() = $text =~ /p7\@example|Zo\x{c3}\x{ab}|name 7|bound 7/g), 0, 'nor a plaintext');
	is(scalar(() = $text =~ /\\\\x01[0-9a-f]{136}$|\\\\x01[0-9a-f]{136}\t/mg), 4, 'but the wraps, found by such a search');
	unlike($text, qr/CREATE (EVENT )?TRIGGER "?(guard_|envcrypt_)/, 'and no member of the extension by itself');
	return;
}

# ---- another cluster

# A restore needs no root key.  The right key file heals even the session that
# has seen the error.
sub wrong_key_file
{
	my $psql = $other->background_psql('postgres', on_error_stop => 0);
	my $read = q{SELECT envcrypt.decrypt(email) FROM aaa.person WHERE id = 7;};

	new_database($other, 'roles_missing');
	is(load($other, 'roles_missing', dump_to('no_owner.sql', '--no-owner', '--no-privileges'),
			'--single-transaction', '-v', 'ON_ERROR_STOP=1'),
		'', 'no roles, wrong key file: restored in a single transaction');
	$psql->query('\c roles_missing');
	is($psql->query("$read\n\\echo :SQLSTATE"), '58000', 'wrong key file: 58000');
	like($psql->{stderr}, qr/key "mail" is unavailable.*HINT: /s, 'with a hint');
	fails_with($other, '58000', q{SELECT envcrypt.try_decrypt(email) FROM aaa.person},
		'wrong key file: try_decrypt does not hide it', db => 'roles_missing');

	PostgreSQL::Test::Utils::system_or_bail('cp', '-p', $key_file, "$dir/right.json");
	rename "$dir/right.json", "$dir/keys.json" or die $!;
	is($psql->query($read), 'p7@example.org', 'right key file: the same session reads');
	$psql->quit;
	same_database($other, 'roles_missing', $before, 'roles missing');
	values_usable($other, 'roles_missing', 'roles missing');
	return;
}

sub plain_elsewhere
{
	my $repeat = quoted_grants() . " \\gexec\n";

	sql($other, q{CREATE ROLE other_oids; CREATE ROLE app LOGIN; CREATE ROLE "Keeper ""2"""; CREATE ROLE dumper});
	new_database($other, 'plain');
	is(load($other, 'plain', $plain, '-v', 'ON_ERROR_STOP=1'), '', 'plain dump into another cluster');
	same_database($other, 'plain', $before, 'plain');
	guards_work($other, 'plain', 'plain');
	values_usable($other, 'plain', 'plain');
	is(app_may($other, 'plain'), $INERT, 'there grants to roles are inert, those to public active');
	is(sql($other, q{SELECT string_agg(DISTINCT grantee, ',' ORDER BY grantee)
			FROM envcrypt.grants WHERE NOT active}, db => 'plain'),
		'Keeper "2",app,gone', 'the view says so');
	sql($other, $repeat, db => 'plain');
	is(app_may($other, 'plain'), $ACTIVE, 'repeated as the query of docs/operations.md prints it, they are active');
	is(sql($other, q{SELECT privileges FROM envcrypt.grants WHERE active AND grantee = 'Keeper "2"'}, db => 'plain'),
		'{manage}', 'for any role name, with the same privileges');
	return;
}

sub directory_elsewhere
{
	new_database($other, 'directory');
	is(restore($other, 'directory', $directory, '-e', '-j2'), '', 'directory, dumped and restored with -j2');
	same_database($other, 'directory', $before, 'directory');
	guards_work($other, 'directory', 'directory');
	return;
}

sub schema_then_data
{
	new_database($other, 'steps');
	is(load($other, 'steps', dump_to('schema.sql', '--schema-only'), '-v', 'ON_ERROR_STOP=1'), '', 'schema-only');
	is(load($other, 'steps', dump_to('data.sql', '--data-only', '--disable-triggers'), '-v', 'ON_ERROR_STOP=1'),
		'', 'then data-only with --disable-triggers');
	# pg_dump --data-only never fills a materialized view
	sql($other, 'REFRESH MATERIALIZED VIEW zzz.emails', db => 'steps');
	same_database($other, 'steps', $before, 'schema, then data');
	guards_work($other, 'steps', 'schema, then data');
	values_usable($other, 'steps', 'schema, then data');
	return;
}

sub sections
{
	new_database($other, 'sections');
	is(restore($other, 'sections', $custom, '-e', "--section=$_"), '', "section $_")
	  foreach 'pre-data', 'data', 'post-data';
	same_database($other, 'sections', $before, 'by sections');
	return;
}

# ---- the same cluster

sub custom_again
{
	new_database($source, 'again');
	is(restore($source, 'again', $custom, '-e', '-1'), '', 'custom dump into the same cluster');
	same_database($source, 'again', $before, 'custom');
	values_usable($source, 'again', 'custom');
	is(app_may($source, 'again'), $ACTIVE, 'in the same cluster grants are active');
	sql($source, 'CREATE ROLE gone LOGIN');
	is(sql($source, q{SELECT active FROM envcrypt.grants WHERE grantee = 'gone'}, db => 'again'),
		'f', 'that of a dropped role is inert, even when there is one of its name again');
	like(fails_with($source, '42501', q{SELECT envcrypt.encrypt('x', 'odd')}, 'and gives it nothing',
		db => 'again', user => 'gone'), qr/DETAIL:.* A grant to it is inert/, 'which the error explains');
	return;
}

sub clean_refused
{
	sql($source, q{SELECT envcrypt.create_key('younger')}, db => 'again');
	my $now = snapshot($source, 'again');

	like(restore($source, 'again', $custom, '--clean', '--if-exists', '-1'),
		qr/cannot drop .*SET envcrypt.allow_destroy = on/s, '--clean -1 is refused');
	same_database($source, 'again', $now, '--clean -1 refused');
	like(load($source, 'again', dump_to('clean.sql', '--clean', '--if-exists')),
		qr/cannot drop .*SET envcrypt.allow_destroy = on/s, '--clean without a transaction: so is the drop');
	is(sql($source, q{SELECT string_agg(name, ',' ORDER BY name) FROM envcrypt.keys}, db => 'again'),
		'mail,odd,off,pii,younger', 'no key is lost');
	same_text(snapshot($source, 'again', only => 'person'), $persons, 'and every value is readable');
	return;
}

sub clean_allowed
{
	local $ENV{PGOPTIONS} = '-c envcrypt.allow_destroy=on';

	is(restore($source, 'again', $custom, '-e', '--clean', '--if-exists', '-1'),
		'', '--clean with envcrypt.allow_destroy');
	delete local $ENV{PGOPTIONS};
	same_database($source, 'again', $before, '--clean');
	guards_work($source, 'again', '--clean');
	values_usable($source, 'again', '--clean');
	return;
}

# ---- parts of a database

sub one_schema
{
	my $aaa = dump_to('aaa.sql', '-n', 'aaa');
	my $keys = dump_to('keys.sql', '-n', 'envcrypt', '-e', 'envcrypt');
	my @stop = ('-v', 'ON_ERROR_STOP=1');

	unlike(slurp_file($aaa), qr/COPY envcrypt\.|CREATE EXTENSION/, '-n aaa holds neither keys nor extension');
	unlike(slurp_file($keys), qr/CREATE SCHEMA|COPY aaa/, '-n envcrypt -e envcrypt holds nothing else');
	new_database($other, $_) foreach 'subset', 'subset_keys';
	like(load($other, 'subset', $aaa, '-1', @stop), qr/schema "envcrypt" does not exist/, '-n aaa needs the extension');
	is(load($other, 'subset', $keys, @stop), '', '-n envcrypt -e envcrypt: the extension and the keys');
	is(load($other, 'subset', $aaa, @stop), '', '-n aaa where the keys are');
	same_text(snapshot($other, 'subset', only => 'person'), $persons, '-n aaa: every value');

	is(load($other, 'subset_keys', dump_to('aaa_keys.sql', '-n', 'aaa', '-e', 'envcrypt'), @stop),
		'', '-n aaa -e envcrypt is self-sufficient');
	same_text(snapshot($other, 'subset_keys', only => 'person'), $persons, 'with every value');
	guards_work($other, 'subset_keys', '-n aaa -e envcrypt');
	return;
}

sub only_keys_and_all_but_keys
{
	my @stop = ('-v', 'ON_ERROR_STOP=1');

	new_database($other, 'keys_first');
	sql($other, 'CREATE EXTENSION envcrypt', db => 'keys_first');
	is(load($other, 'keys_first', dump_to('only_keys.sql', '--data-only', '-t', 'envcrypt.*'), '-1', @stop),
		'', 'key rows alone, where the extension is');
	like(load($other, 'keys_first', "$dir/only_keys.sql", '-1', @stop),
		qr/duplicate key value/, 'key rows are not restored over the same ones');
	my $rest = dump_to('rest.sql', '-T', 'envcrypt.*');
	unlike(slurp_file($rest), qr/COPY envcrypt\./, '-T leaves the key rows out');
	is(load($other, 'keys_first', $rest, '-1', @stop), '', 'the rest goes to where they are');
	same_database($other, 'keys_first', $before, 'keys first');
	return;
}

# ---- the end of it

# As docs/operations.md says: every value in clear, then no CASCADE.
sub uninstall
{
	my $drop = 'SET envcrypt.allow_destroy = on; DROP EXTENSION envcrypt';

	new_database($other, 'leaving');
	sql($other, q{
		CREATE EXTENSION envcrypt;
		SELECT envcrypt.create_key('k'), envcrypt.create_key('m', 'aes-256-siv');
		CREATE TABLE t (id integer, born envcrypt.enc_bytea, email envcrypt.enc_bytea(deterministic) UNIQUE);
		INSERT INTO t VALUES (1, envcrypt.encrypt_bound(date '2000-02-29', 'k', '1'), envcrypt.encrypt('a@b', 'm'));
	}, db => 'leaving');
	fails_with($other, '55000', 'DROP EXTENSION envcrypt CASCADE', 'uninstall: refused without the setting',
		db => 'leaving');
	fails_with($other, '2BP01', $drop, 'uninstall: refused while columns hold values', db => 'leaving');
	sql($other, q{ALTER TABLE t
		ALTER born TYPE date USING envcrypt.decrypt_as(born, NULL::date, id::text),
		ALTER email TYPE text USING envcrypt.decrypt(email)}, db => 'leaving');
	sql($other, $drop, db => 'leaving');
	is(sql($other, 'SELECT * FROM t', db => 'leaving'), '1|2000-02-29|a@b', 'uninstalled, values in clear');
	fails_with($other, '23505', 'INSERT INTO t SELECT * FROM t', 'a unique constraint is still there', db => 'leaving');
	return is(sql($other, q{SELECT count(*) FROM pg_namespace WHERE nspname = 'envcrypt'}, db => 'leaving'),
		'0', 'and nothing of envcrypt');
}

# ---- who dumps and restores

# A dump without what differs from one to the next.
sub without_tokens
{
	my $text = slurp_file(shift);
	$text =~ s/^\\(un)?restrict .*$//mg;
	return $text;
}

sub other_users
{
	my $file = dump_to('dumper.sql', '-U', 'dumper');

	same_text(without_tokens($file), without_tokens($plain), 'pg_read_all_data dumps what a superuser does');
	command_fails_like([ 'pg_dump', connection($source, 'src'), '-U', 'app', '-f', "$dir/app.sql" ],
		qr/permission denied for table/, 'without it, key tables cannot be dumped');
	new_database($other, 'plebs OWNER app');
	sql($other, 'CREATE EXTENSION envcrypt', db => 'plebs');
	like(load($other, 'plebs', "$dir/only_keys.sql", '-U', 'app', '-v', 'ON_ERROR_STOP=1'),
		qr/permission denied for table/, 'who is not superuser cannot restore keys');
	return;
}

sub privileges_on_functions
{
	my $may = q{SELECT has_function_privilege('dumper', 'envcrypt.create_key(text,text,text[],text)', 'EXECUTE')};

	sql($source, 'GRANT EXECUTE ON FUNCTION envcrypt.create_key TO dumper', db => 'src');
	new_database($source, 'granted');
	is(load($source, 'granted', dump_to('granted.sql', '-n', 'envcrypt', '-e', 'envcrypt'), '-v', 'ON_ERROR_STOP=1'),
		'', 'a privilege on an administration function');
	return is(sql($source, $may, db => 'granted'), 't', 'is dumped and restored');
}

sub whole_cluster
{
	my $all = new_cluster('all', extension => 0);

	sql($all, 'CREATE ROLE other_oids');
	command_ok([ 'pg_dumpall', '-h', $source->host, '-p', $source->port, '-f', "$dir/all.sql" ], 'pg_dumpall');
	like(load($all, 'postgres', "$dir/all.sql"), qr/\A[^\n]*role "[^"]*" already exists\n?\z/,
		'restored into a new cluster');
	same_database($all, 'src', $before, 'pg_dumpall');
	is(app_may($all, 'src'), $INERT, 'pg_dumpall: grants to roles are inert in the new cluster');
	sql($all, quoted_grants() . " \\gexec\n", db => 'src');
	is(app_may($all, 'src'), $ACTIVE, 'until repeated');
	is(sql($all, 'SHOW search_path', db => 'src'), 'public, envcrypt', 'pg_dumpall keeps the search_path');
	$all->stop('immediate');
	return;
}

dump_contents();
wrong_key_file();
plain_elsewhere();
directory_elsewhere();
schema_then_data();
sections();
custom_again();
clean_refused();
clean_allowed();
one_schema();
only_keys_and_all_but_keys();
uninstall();
other_users();
whole_cluster();
privileges_on_functions();

done_testing();
