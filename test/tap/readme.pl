# Every SQL line of README.md runs, in order, in one session; every command
# line is one this test knows, and runs here where it can run without root.
use strict;
use warnings FATAL => 'all';

use File::Basename;
use File::Copy;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

my $readme = slurp_file('README.md');

# The fenced blocks of one language, in order.
sub blocks
{
	my ($lang) = @_;
	return $readme =~ /^```$lang\n(.*?)^```$/msg;
}

# What the test does for a command of the README; quickstart runs in CI as a
# step of its own.
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my %commands = (
	'make quickstart' => undef,
	'make' => [ 'make', '-s' ],
	'sudo make install' => [ 'make', '-s', 'install', "DESTDIR=$dir/stage" ],
	'sudo -u postgres envcrypt keygen' => [ $ENV{ENVCRYPT_CLI}, 'keygen', "$dir/keys.json" ]);

for my $line (map { split /\n/ } blocks('sh'))
{
	ok(exists $commands{$line}, "README command is known: $line");
	command_ok($commands{$line}, "README command runs: $line") if $commands{$line};
}
ok(-f "$dir/keys.json", 'keygen made a key file');

my @sql = blocks('sql');
cmp_ok(scalar @sql, '>=', 4, 'README has SQL blocks');

my $node = new_cluster('readme', extension => 0);
my ($out, $err) = ('', '');
my $rc = $node->psql('postgres', join("\n", @sql), stdout => \$out, stderr => \$err, on_error_stop => 1);
is($rc, 0, 'every SQL line of README.md runs') or diag($err);
like($out, qr/^1\|\+44 20 7946 0958\|1980-02-29$/m, 'the look-up by e-mail finds and opens the row');
like($out, qr/^call back$/m, 'the bound value opens');
unlike($err, qr/WARNING|NOTICE/, 'without warnings') or diag($err);

# The roles of README.md get what it says.
sub may
{
	my ($role, $sql) = @_;
	my ($state) = sql_error($node, "SET search_path = public, envcrypt; SET ROLE $role; $sql") =~ /ERROR:  (\w{5})/;
	return $state // 'may';
}
is(sql($node, q{SHOW search_path}, user => 'app'), 'public, envcrypt', 'app has the search path');
is(sql($node, q{SELECT decrypt(body, enc_context('note.body', id::text)) FROM note}, user => 'app'), 'call back', 'app reads the note');
is(sql($node, q{WITH n AS (SELECT nextval('note_id_seq')::int AS id) INSERT INTO note SELECT id, encrypt_bound('again', 'pii',
	enc_context('note.body', id::text)) FROM n RETURNING decrypt(body, enc_context('note.body', id::text))}, user => 'app'),
	'again', 'and writes one');
my ($pii, $det) = map { sql($node, "SELECT envcrypt.encrypt('v', '$_')") } qw(pii lookup);
is(join(' ', map { may('intake', $_) } "SELECT encrypt('v', 'pii')", "SELECT decrypt('$pii')"), 'may 42501', 'intake only seals');
is(join(' ', map { may('support', $_) } "SELECT decrypt('$det')", "SELECT search_terms('v', 'lookup')", "SELECT encrypt('v', 'lookup')"),
	'may may 42501', 'support looks up and reads');

# What docs/operations.md says to do with these tables before leaving.
my ($uninstall) = slurp_file('docs/operations.md') =~ /^## Uninstall\n(.*)/ms;
my $leave = join "\n", $uninstall =~ /^    (.*)$/mg;
$leave =~ s/DATABASE shop/DATABASE postgres/;
is(sqlstate($node, $leave), '00000', 'the commands of Uninstall run');
is(sql($node, q{SELECT email, phone, born, body FROM customer, note WHERE body = 'call back'}),
	'ann@example.org|+44 20 7946 0958|1980-02-29|call back', 'and leave the tables in plain');
is(sql($node, q{SELECT count(*) FROM pg_extension WHERE extname = 'envcrypt'}), '0', 'and no extension');

# Links lead somewhere.
for my $link ($readme =~ /\]\(([^)#:]+)\)/g)
{
	ok(-e $link, "README link exists: $link");
}

done_testing();
