# pgcrypto in the same database and path: its calls stay its own, before and
# after CREATE EXTENSION envcrypt and in both orders of the search path, and
# ours are ours.  Then the commands of docs/from-pgcrypto.md and
# docs/sql-reference.md, one after the other.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

my $node = new_cluster('pgcrypto', conf => "log_statement = none\n", extension => 0);
if (sql($node, q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pgcrypto'}) eq '0')
{
	$node->stop;
	plan skip_all => 'pgcrypto is not installed';
}

my $dir = PostgreSQL::Test::Utils::tempdir_short();

# pgbench speaks the extended protocol with parameters of no declared type.
sub extended
{
	my ($db, $sql, $name, @vars) = @_;
	my $file = "$dir/extended.sql";

	open my $fh, '>', $file or die;
	print $fh "$sql;\n";
	close $fh;
	command_ok([ 'pgbench', '-n', '-M', 'extended', '-t', '1', '-f', $file, (map { ('-D', $_) } @vars), $node->connstr($db) ], $name);
	return;
}

# What pgcrypto's calls give, however they are made.
my $raw;

sub calls
{
	my ($db, $when, $ours) = @_;
	my $is = sub { my ($sql, $want, $name) = @_; is(sql($node, $sql, db => $db), $want, "$when: $name"); };

	$is->(q{SELECT pg_typeof(encrypt('a', 'b', 'aes')), pg_typeof(decrypt(encrypt('a', 'b', 'aes'), 'b', 'aes'))}, 'bytea|bytea', 'all literals');
	$is->(q{SELECT encrypt('a', 'b', 'aes')}, $raw, 'all literals, the value');
	$is->(q{SELECT encrypt(data, key::bytea, 'aes') FROM old}, $raw, 'a bytea column');
	$is->(q{SELECT encode(decrypt(sealed, 'b', 'aes'), 'escape') FROM old}, 'a', 'decrypt of a bytea column');
	$is->(q{PREPARE p AS SELECT encrypt($1, $2, $3); SELECT parameter_types FROM pg_prepared_statements; EXECUTE p('a', 'b', 'aes')},
		"{bytea,bytea,text}\n$raw", '$1, $2, $3 by PREPARE');
	$is->(q{PREPARE p AS SELECT decrypt($1, $2, $3); SELECT parameter_types FROM pg_prepared_statements}, '{bytea,bytea,text}', 'decrypt($1, $2, $3)');
	$is->(q{SELECT v FROM as_view}, 'a', 'a view made before');
	$is->(q{SELECT as_function('b')}, 'a', 'a function made before');
	$is->(q{SELECT pgp_sym_decrypt(pgp_sym_encrypt('x', 'y'), 'y')}, 'x', 'pgp_sym_*');
	sql($node, 'TRUNCATE out', db => $db);
	extended($db, 'INSERT INTO out SELECT encrypt(:a, :b, :c)', "$when: extended protocol", 'a=a', 'b=b', 'c=aes');
	$is->(q{SELECT v FROM out}, $raw, '$1, $2, $3 by the extended protocol');
	return unless $ours;

	$is->(q{SELECT decrypt(encrypt('a', 'pg-key')), decrypt(encrypt_bound('a', 'pg-key', 'c'), 'c'), decrypt(encrypt(42, 'pg-key'))}, 'a|a|42', 'ours');
	$is->(q{PREPARE e AS SELECT encrypt($1, $2); PREPARE d AS SELECT decrypt($1); PREPARE dc AS SELECT decrypt($1, $2);
		SELECT string_agg(name || parameter_types::text, ' ' ORDER BY name) FROM pg_prepared_statements},
		'd{enc_bytea} dc{enc_bytea,text} e{text,text}', 'ours, $1 and $2 by PREPARE');
	sql($node, 'TRUNCATE enc_out', db => $db);
	extended($db, 'INSERT INTO enc_out SELECT encrypt(:a, :b)', "$when: ours, extended protocol", 'a=mine', 'b=pg-key');
	$is->(q{SELECT decrypt(v) FROM enc_out}, 'mine', 'ours, $1 and $2 by the extended protocol');
	return;
}

my $objects = q{
	CREATE TABLE old AS SELECT 'a'::bytea AS data, 'b'::text AS key, encrypt('a'::bytea, 'b', 'aes') AS sealed;
	CREATE TABLE out (v bytea);
	CREATE VIEW as_view AS SELECT encode(decrypt(sealed, 'b', 'aes'), 'escape') v FROM old;
	CREATE FUNCTION as_function(k text) RETURNS text LANGUAGE sql AS
		$$ SELECT encode(decrypt(sealed, k::bytea, 'aes'), 'escape') FROM old $$;
};
my $notice = qr/NOTICE:  pgcrypto is installed in this database too\n.*HINT:.*from-pgcrypto/s;

# ---- pgcrypto first
sql($node, 'CREATE DATABASE first');
sql($node, "CREATE EXTENSION pgcrypto; $objects", db => 'first');
$raw = sql($node, q{SELECT public.encrypt('a', 'b', 'aes')}, db => 'first');
calls('first', 'before envcrypt');
my ($out, $err) = ('', '');
$node->psql('first', 'SET client_min_messages = log; CREATE EXTENSION envcrypt; SHOW client_min_messages',
	stdout => \$out, stderr => \$err);
like($err, $notice, 'CREATE EXTENSION notices pgcrypto');
is($out, 'log', 'and leaves the settings alone');
sql($node, q{SELECT envcrypt.create_key('pg-key'); CREATE TABLE enc_out (v envcrypt.enc_bytea)}, db => 'first');
calls('first', 'after envcrypt, not in the path');
for my $path ('public, envcrypt', 'envcrypt, public')
{
	sql($node, "ALTER DATABASE first SET search_path = $path", db => 'postgres');
	calls('first', "path $path", 1);
}

# ---- envcrypt first, pgcrypto in a schema of its own
sql($node, 'CREATE DATABASE second');
$node->psql('second', 'CREATE EXTENSION envcrypt', stderr => \$err);
is($err, '', 'no notice without pgcrypto');
sql($node, q{CREATE SCHEMA crypto; CREATE EXTENSION pgcrypto SCHEMA crypto; SELECT envcrypt.create_key('pg-key');
	CREATE TABLE enc_out (v envcrypt.enc_bytea)}, db => 'second');
sql($node, 'ALTER DATABASE second SET search_path = public, crypto, envcrypt', db => 'postgres');
sql($node, $objects, db => 'second');
for my $path ('public, crypto, envcrypt', 'envcrypt, crypto, public')
{
	sql($node, "ALTER DATABASE second SET search_path = $path", db => 'postgres');
	calls('second', "pgcrypto later, path $path", 1);
}
# without pgcrypto in the path its call is no call of ours either
like(sql_error($node, q{SET search_path = envcrypt; SELECT encrypt('a'::bytea, 'b', 'aes')}, db => 'second'),
	qr/42883: function encrypt\(bytea, unknown, unknown\) does not exist/, 'three arguments are never ours');

# ---- pages whose SQL is run: an answer is told in the comment "-- => .."
sub page
{
	my ($file, $db, $before) = @_;
	my @blocks = slurp_file($file) =~ /^```sql\n(.*?)^```$/msg;
	my $script = join "\n", @blocks;
	my @want = $script =~ /^-- => (.*)$/mg;

	sql($node, "CREATE DATABASE $db");
	sql($node, $before, db => $db) if $before;
	my $rc = $node->psql('template1', $script, connstr => $node->connstr($db), stdout => \$out, stderr => \$err, on_error_stop => 1);
	is($rc, 0, "$file: every command runs") or diag($err);
	cmp_ok(scalar @want, '>', 2, "$file: tells answers");
	is(join("\n", grep { length && !/^\|*$/ } split /\n/, $out), join("\n", @want), "$file: and the answers are these");
	return;
}
page('docs/from-pgcrypto.md', 'moved');
is(sql($node, q{SELECT count(*), count(DISTINCT envcrypt.decrypt(ssn)) FROM person}, db => 'moved'), '1001|1001', 'docs/from-pgcrypto.md: all rows moved');
page('docs/sql-reference.md', 'reference');

$node->stop;
done_testing();
