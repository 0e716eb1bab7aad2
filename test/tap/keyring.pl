# keyring.pl: export_keyring() and import_keyring().  Keys go to another
# cluster and open values there; nothing that is there is ever changed; and
# what is not an export is refused by the field that is wrong.
use strict;
use warnings FATAL => 'all';

use EnvcryptTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $json = JSON::PP->new->canonical;
my $a = new_cluster('a', init => { allows_streaming => 1 });
my $b = new_cluster('b');
my $dir = PostgreSQL::Test::Utils::tempdir();

sub export_of
{
	my ($node, $key, %o) = @_;
	return sql($node, 'SELECT envcrypt.export_keyring(' . (defined $key ? "'$key'" : '') . ')', %o);
}

# import_of(JSON TEXT): as an expression of SQL
sub import_of { return "SELECT envcrypt.import_keyring(\$keyring\$$_[0]\$keyring\$)" }

# An export with one thing changed.
sub changed
{
	my ($text, $change) = @_;
	my $doc = $json->decode($text);

	$change->($doc);
	return $json->encode($doc);
}

sub file_of
{
	my ($name, $text) = @_;
	append_to_file("$dir/$name", $text);
	return "$dir/$name";
}

sub key_rows
{
	my ($node) = @_;
	return join "\n", map { sql($node, "SELECT x::text FROM envcrypt.$_ x ORDER BY 1") } qw(key key_version key_wrap);
}

sql($a, q{CREATE ROLE manager LOGIN; CREATE ROLE other LOGIN;
	SELECT create_key('pii'), create_key('mail', 'aes-256-siv'), create_key('odd', label => 'opaque-7'), create_key('off');
	SELECT disable_key('off'), grant_key('pii', 'manager', '{manage}');
	GRANT EXECUTE ON FUNCTION envcrypt.export_keyring, envcrypt.import_keyring TO manager, other;
	CREATE TABLE t (id int, v enc_bytea);
	INSERT INTO t VALUES (1, encrypt('one', 'pii')), (2, encrypt('two', 'mail')), (3, encrypt_bound('three', 'odd', 'c'))});

# ---- what an export is

my $all = export_of($a);
my $doc = $json->decode($all);
like($all, qr/^\{"format" : "envcrypt-keyring", "version" : 1, /, 'format and version are at the top');
is(join(' ', sort keys %{ $doc->{keys} }), 'mail odd off pii', 'all keys');
my ($kvid) = keys %{ $doc->{keys}{pii}{versions} };
is($kvid, sql($a, q{SELECT encode(kvid, 'hex') FROM key_versions WHERE key = 'pii'}), 'a version by its kvid');
my $v = $doc->{keys}{pii}{versions}{$kvid};
is_deeply([ sort keys %$v ],
	[ qw(changed_at commitment compromised created_at number options origin state wraps) ], 'its members');
is(unpack('H*', pack('H*', $v->{wraps}{'local:default'}{wrapped})),
	sql($a, qq{SELECT encode(wrapped, 'hex') FROM envcrypt.key_wrap WHERE kvid = '\\x$kvid'}), 'its wrap');
is($doc->{keys}{odd}{label}, 'opaque-7', 'a label');
is($doc->{keys}{off}{enabled}, JSON::PP::false, 'a disabled key');
is(join(' ', keys %{ $json->decode(export_of($a, 'mail'))->{keys} }), 'mail', 'one key');
is(sql($a, q{SELECT count(*) FROM audit WHERE action = 'export_keyring' AND key = 'pii'}), '1', 'the audit knows');
is(sql($a, q{BEGIN READ ONLY; SELECT export_keyring() IS NOT NULL}), 't', 'in a read-only transaction');
is(sql($a, q{SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET bytea_output = escape; SET intervalstyle = sql_standard;
	SELECT export_keyring()::jsonb - 'exported_at'}),
	sql($a, q{SELECT export_keyring()::jsonb - 'exported_at'}), 'settings change nothing in it');

# No secret: neither the root key nor what the wraps hold.
my ($conf) = slurp_file($ENV{TEMP_CONFIG}) =~ /local_key_file = '(.*)'/;
my ($root) = slurp_file($conf) =~ /"secret":"([0-9a-f]{64})"/;
ok(index($all, substr($root, 0, 16)) < 0 && index($all, substr($root, 40, 16)) < 0, 'no root secret is in it');
unlike($all, qr/grant|manager|created_by/, 'neither grants nor roles');

# ---- who may

fails_with($a, '42501', 'SELECT envcrypt.export_keyring()', 'all of them takes manage on all', user => 'manager');
is(join(' ', keys %{ $json->decode(export_of($a, 'pii', user => 'manager'))->{keys} }), 'pii', 'one takes manage on it');
fails_with($a, '42501', q{SELECT envcrypt.export_keyring('pii')}, 'EXECUTE alone is not enough', user => 'other');
fails_with($a, '42704', q{SELECT envcrypt.export_keyring('nosuch')}, 'an unknown key');
unlike(fails_with($a, '42704', q{SELECT envcrypt.export_keyring('se cret')}, 'no name of a key'), qr/se cret/, 'is not shown');
fails_with($a, '42501', import_of($all), 'only superusers import', user => 'manager');
sql($a, 'REVOKE EXECUTE ON FUNCTION envcrypt.export_keyring FROM other');
fails_with($a, '42501', q{SELECT envcrypt.export_keyring('pii')}, 'EXECUTE is not for PUBLIC', user => 'other');

# ---- the way into another cluster

my $rows = sql($a, q{SELECT id, v FROM t ORDER BY 1});
sql($b, 'CREATE TABLE t (id int, v enc_bytea)');
foreach (split /\n/, $rows)
{
	my ($id, $value) = split /\|/;
	sql($b, "INSERT INTO t VALUES ($id, '$value')");
}
fails_with($b, '42704', 'SELECT decrypt(v) FROM t WHERE id = 1', 'before the import a value does not open');
is(sql($b, import_of($all)), '12', 'the import adds keys, versions and wraps');
is(sql($b, q{SELECT decrypt(v) FROM t WHERE id < 3 ORDER BY id}), "one\ntwo", 'then it does');
is(sql($b, q{SELECT decrypt(v, 'c') FROM t WHERE id = 3}), 'three', 'with a label of its own, too');
my $times = q{SELECT export_keyring()::jsonb #- '{exported_at}'};
my $verified = q{"verified_at": "[^"]*"};
is(sql($b, $times) =~ s/$verified//gr, sql($a, $times) =~ s/$verified//gr, 'an export of it is the same');
is(sql($b, q{SELECT enabled FROM keys WHERE name = 'off'}), 'f', 'a disabled key is still disabled');
is(sql($b, q{SELECT key, detail->'rows' FROM audit WHERE action = 'import_keyring' ORDER BY key COLLATE "C"}),
	"mail|3\nodd|3\noff|3\npii|3", 'the audit has a row a key');
is(sql($b, 'SELECT count(*) FROM envcrypt.key_grant'), '0', 'no grants come along');
my $before = key_rows($b);
is(sql($b, import_of($all)), '0', 'a second import adds nothing');
is(key_rows($b), $before, 'and changes nothing');
is(sql($b, q{SELECT encrypt('new', 'pii') IS NOT NULL, decrypt(encrypt('new', 'mail'))}), 't|new', 'imported keys seal');
fails_with($b, '55000', q{DO $$ BEGIN PERFORM import_keyring('} . changed(export_of($a, 'pii'), sub {
		$_[0]{keys} = { later => $_[0]{keys}{pii} };
		$_[0]{keys}{later}{versions} = {} }) . q{'); PERFORM encrypt('x', 'later'); END $$},
	'a key without a version does not seal');

# ---- it takes part in the transaction

sql($b, 'CREATE DATABASE c');
sql($b, 'CREATE EXTENSION envcrypt; ALTER DATABASE c SET search_path = public, envcrypt', db => 'c');
sql($b, 'BEGIN; ' . import_of($all) . '; ROLLBACK', db => 'c');
is(sql($b, 'SELECT count(*) FROM keys', db => 'c'), '0', 'a rollback takes it back');
fails_with($b, '55000', 'BEGIN; ' . import_of($all) . q{; PREPARE TRANSACTION 'x'}, 'it cannot be prepared', db => 'c');
is(sql($b, 'SET synchronous_commit = off; BEGIN; ' . import_of($all) . '; SHOW synchronous_commit; ROLLBACK', db => 'c'),
	"12\non", 'its commit waits for the disk');
is(sql($b, 'BEGIN; ' . import_of($all) . q{; SELECT decrypt(encrypt('x', 'pii')); ROLLBACK}, db => 'c'),
	"12\nx", 'in a transaction block its keys seal at once');
fails_with($b, '55000', q{BEGIN; SAVEPOINT s; } . import_of($all) . q{; RELEASE s; SELECT encrypt('x', 'pii')},
	'but not when a savepoint made them', db => 'c');

# ---- what is here is never changed

sub refused
{
	my ($state, $what, $change, $like, %o) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $was = key_rows($b);
	my $err = fails_with($b, $state, import_of(changed($all, $change)), $what, %o);
	like($err, $like, "$what: says so");
	return is(key_rows($b), $was, "$what: nothing is changed") unless $o{db};
}

my $flip = sub { $_[0] =~ tr/0-9a-f/1-9a-f0/; return $_[0] };
refused('55000', 'another commitment', sub {
	$flip->($_[0]{keys}{pii}{versions}{$kvid}{commitment}) }, qr/another commitment.*seal this version's values again/s);
refused('42710', 'another label', sub { $_[0]{keys}{pii}{label} = 'other' }, qr/another label/);
refused('42710', 'another algorithm', sub { $_[0]{keys}{pii}{algorithm} = 'aes-256-siv' }, qr/another algorithm/);
refused('42710', 'a version of another key', sub {
	$_[0]{keys}{fresh} = { %{ $_[0]{keys}{pii} } } ; delete $_[0]{keys}{pii} }, qr/of key "pii" here and of key "fresh"/);
is(sql($b, import_of(changed($all, sub {
	$_[0]{keys}{pii}{enabled} = JSON::PP::false; $_[0]{keys}{pii}{root_keys} = ['local:other'];
	my $v = $_[0]{keys}{pii}{versions}{$kvid}; $v->{state} = 'disabled'; $v->{number} = 7;
	$flip->($v->{wraps}{'local:default'}{wrapped}) }))), '0', 'state, number, root keys, wrap bytes of what is here');
is(key_rows($b), $before, 'are left alone');

# Two keys of one name, made apart: values of both open.
sql($a, q{SELECT create_key('twin')});
sql($b, q{SELECT create_key('twin')});
my $twin = sql($a, q{SELECT encrypt('from a', 'twin')});
is(sql($b, import_of(export_of($a, 'twin'))), '2', 'a key of the same name and label is added to');
is(sql($b, q{SELECT number, state FROM key_versions WHERE key = 'twin' ORDER BY 1}), "1|primary\n2|decrypt_only",
	'its version gets a free number and is not a second primary');
is(sql($b, qq{SELECT decrypt('$twin'), decrypt(encrypt('here', 'twin'))}), 'from a|here', 'both open');

# An export that was altered does not get in the way of the good one.
my $fresh = sub { my $change = shift; changed(export_of($a, 'pii'), sub { $change->($_[0]{keys}{pii}{versions}{$kvid}) }) };
fails_with($b, '22023', import_of($fresh->(sub { $flip->($_[0]{commitment}) })),
	'a commitment that no wrap fits', db => 'c');
fails_with($b, '22023', import_of($fresh->(sub { substr($_[0]{wraps}{'local:default'}{wrapped}, -1) =~ tr/0-9a-f/1-9a-f0/ })),
	'a wrap that does not open', db => 'c');
is(sql($b, 'SELECT count(*) FROM envcrypt.key_version', db => 'c'), '0', 'nothing was added');

# Root keys that are not here yet: taken in, and said.
my $renamed = $fresh->(sub { my $w = $_[0]{wraps}; $w->{'local:elsewhere'} = delete $w->{'local:default'} });
my ($out, $err);
$b->psql('c', 'BEGIN; ' . import_of($renamed) . '; ROLLBACK', stdout => \$out, stderr => \$err);
like($err, qr/NOTICE:  1 of the versions added could not be tried/, 'a root key that is not here: a notice');
is(sql($b, 'BEGIN; ' . import_of($fresh->(sub { $_[0]{wraps}{'aws-eu:arn:aws:kms:eu-central-1:1:key/9'} =
	{ wrapped => '00' x 200, verified_at => undef } })) . '; SELECT count(*) FROM envcrypt.key_wrap; ROLLBACK', db => 'c'),
	"4\n2", 'a wrap of an endpoint of a newer release is kept');

# ---- every field

my %bad = (
	'another format' => sub { $_[0]{format} = 'x' },
	'no keys' => sub { delete $_[0]{keys} },
	'keys as an array' => sub { $_[0]{keys} = [] },
	'a member more' => sub { $_[0]{extra} = 1 },
	'a time' => sub { $_[0]{exported_at} = 'yesterday' },
	'a day that is none' => sub { $_[0]{exported_at} = '2026-02-30T00:00:00Z' },
	'a version that is no number' => sub { $_[0]{version} = '1' },
	'name of a key' => sub { $_[0]{keys}{'se cret'} = $_[0]{keys}{pii} },
	'key that is no object' => sub { $_[0]{keys}{x} = 'secret' },
	'label' => sub { $_[0]{keys}{pii}{label} = 'se cret' },
	'enabled' => sub { $_[0]{keys}{pii}{enabled} = 'secret' },
	'no algorithm' => sub { delete $_[0]{keys}{pii}{algorithm} },
	'root keys' => sub { $_[0]{keys}{pii}{root_keys} = ['secret'] },
	'no root keys' => sub { $_[0]{keys}{pii}{root_keys} = [] },
	'root keys of another kind' => sub { $_[0]{keys}{pii}{root_keys} = [1] },
	'member more in a key' => sub { $_[0]{keys}{pii}{secret} = 1 },
	'kvid' => sub { my $v = $_[0]{keys}{pii}{versions}; $v->{'00' x 8} = delete $v->{$kvid} },
	'kvid in upper case' => sub { my $v = $_[0]{keys}{pii}{versions}; $v->{'AB' x 8} = delete $v->{$kvid} });
my %bad_version = (
	'number 0' => sub { $_[0]{number} = 0 }, 'number 1.5' => sub { $_[0]{number} = 1.5 },
	'number too large' => sub { $_[0]{number} = 2**31 }, 'number as text' => sub { $_[0]{number} = 'secret' },
	'state' => sub { $_[0]{state} = 'secret' }, 'compromised' => sub { $_[0]{compromised} = undef },
	'commitment' => sub { $_[0]{commitment} = 'ab' }, 'commitment in upper case' => sub { $_[0]{commitment} = uc $_[0]{commitment} },
	'options' => sub { $_[0]{options} = [] }, 'origin' => sub { $_[0]{origin} = 'secret' },
	'created_at' => sub { $_[0]{created_at} = '2026-11-21 00:00:00+00' }, 'changed_at' => sub { delete $_[0]{changed_at} },
	'wraps' => sub { $_[0]{wraps} = undef }, 'wrap of another kind' => sub { $_[0]{wraps}{'local:default'} = 1 },
	'a short local wrap' => sub { $_[0]{wraps}{'local:default'}{wrapped} = '01ab' },
	'a wrap that is no hex' => sub { $_[0]{wraps}{'local:default'}{wrapped} = 'secret' },
	'a long wrap' => sub { $_[0]{wraps}{'x:y'} = { wrapped => 'ab' x 16385 } },
	'no wrapped' => sub { delete $_[0]{wraps}{'local:default'}{wrapped} },
	'verified_at' => sub { $_[0]{wraps}{'local:default'}{verified_at} = 1 },
	'root key of a wrap' => sub { $_[0]{wraps}{'secret'} = $_[0]{wraps}{'local:default'} });
foreach my $what (sort keys %bad)
{
	my $err = fails_with($b, '22023', import_of(changed($all, $bad{$what})), "bad: $what", db => 'c');
	unlike($err, qr/se ?cret['" ]/, "bad: $what: is not shown") if $what !~ /member/;
}
foreach my $what (sort keys %bad_version)
{
	my $err = fails_with($b, '22023', import_of($fresh->($bad_version{$what})), "bad version: $what", db => 'c');
	unlike($err, qr/secret/, "bad version: $what: is not shown");
}
fails_with($b, '22023', q{SELECT import_keyring(NULL)}, 'NULL', db => 'c');
fails_with($b, '22023', qq{SELECT import_keyring('$_')}, "bad: $_", db => 'c') foreach '[]', '1', '"x"', 'null', '{}';
fails_with($b, '0A000', import_of(changed($all, sub { $_[0]{version} = 2 })), 'a newer format', db => 'c');
fails_with($b, '0A000', import_of(changed($all, sub { $_[0]{keys}{pii}{algorithm} = 'x' })), 'a newer algorithm', db => 'c');
fails_with($b, '0A000', import_of($fresh->(sub { $_[0]{options} = { bits => 8 } })), 'an option', db => 'c');
is(sql($b, 'SELECT count(*) FROM keys', db => 'c'), '0', 'nothing was added');

# ---- the tool reads what the server wrote

my $keyring = file_of('keyring.json', export_of($a));
my @verify = ($ENV{ENVCRYPT_CLI}, 'keyring', 'verify', $keyring, '--key-file', $conf);
command_like(\@verify, qr/^key pii\n  version 1, $kvid, primary\n    local:default: ok\n/m, 'envcrypt keyring verify');
command_like(\@verify, qr/^5 of 5 versions open\n\z/m, 'opens every version');
my $bad = file_of('bad.json', changed(export_of($a), sub {
	$flip->($_[0]{keys}{pii}{versions}{$kvid}{commitment}) }));
command_checks_all([ @verify[0 .. 2], $bad, @verify[4, 5] ], 1,
	[ qr/local:default: failed: the secret does not fit.*NOT READABLE.*4 of 5 versions open/s ], [qr/^$/],
	'and says which does not');

# ---- a dump of it restores, a standby exports

sql($b, 'CREATE DATABASE d');
command_ok([ 'sh', '-c', "pg_dump -d '" . $b->connstr('postgres') . "' | psql -Xq -v ON_ERROR_STOP=1 -d '" . $b->connstr('d') . "'" ],
	'imported keys are dumped and restored');
is(sql($b, 'SELECT envcrypt.decrypt(v) FROM t WHERE id = 1', db => 'd'), 'one', 'and open');

$a->backup('base') if $a->safe_psql('postgres', 'SHOW wal_level') ne 'minimal';
SKIP:
{
	skip 'wal_level is minimal', 2 unless -d $a->backup_dir . '/base';
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($a, 'base', has_streaming => 1);
	$standby->start;
	like(export_of($standby), qr/envcrypt-keyring/, 'a standby exports');
	fails_with($standby, '25006', import_of($all), 'and imports nothing');
}

done_testing();
