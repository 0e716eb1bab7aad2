# Text is sealed as UTF-8 whatever the database's encoding, so that a value
# opens in a database of another; what cannot be represented is 22021, and no
# byte of it is in any message.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

my $node = new_cluster('encodings', conf => "log_statement = none\n", extension => 0);

my %encoding = (utf8 => 'UTF8', latin1 => 'LATIN1', ascii => 'SQL_ASCII', eucjp => 'EUC_JP');
sub database
{
	my ($db, $encoding) = @_;
	sql($node, "CREATE DATABASE $db TEMPLATE template0 ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C'");
	sql($node, "ALTER DATABASE $db SET search_path = public, envcrypt", db => 'postgres');
	return;
}

# Statements and answers here are UTF-8; psql converts by client_encoding.
sub utf8
{
	my ($db, $sql) = @_;
	local $ENV{PGCLIENTENCODING} = $db =~ /ascii/ ? 'SQL_ASCII' : 'UTF8';
	return sql($node, $sql, db => $db);
}

sub state_is
{
	my ($db, $state, $sql, $name) = @_;
	my $offset = -s $node->logfile;
	local $ENV{PGCLIENTENCODING} = $db =~ /ascii/ ? 'SQL_ASCII' : 'UTF8';
	my $err = fails_with($node, $state, $sql, "$db: $name", db => $db);

	# ERROR, HINT, SCHEMA NAME, LOCATION and no more; no hex, no bytes above ASCII
	my ($message) = $err =~ /ERROR:  $state: (.*)/;
	like($message // '', qr/^value is not text that this database's encoding can represent$/, "$db: $name: the message");
	unlike(slurp_log($node, $offset), qr/0x|\\x|[^\x00-\x7f]|CANARY/, "$db: $name: no byte of the value in the log");
	return;
}

# ---- values made in a UTF-8 database and in a LATIN1 one
my $values = q{
	CREATE TABLE v (id int PRIMARY KEY, plain text, sealed enc_bytea, bound enc_bytea, det enc_bytea(deterministic), arr enc_bytea);
	INSERT INTO v SELECT id, p, encrypt(p, 'enc'), encrypt_bound(p, 'enc', enc_context('Größe', p)), encrypt(p, 'enc-det'),
		encrypt(ARRAY[p, NULL], 'enc')
	FROM (VALUES %s) x(id, p);};
my $latin = q{(1, 'ascii'), (2, 'Größe'), (3, 'ÿþýü'), (4, repeat('é', 5000)), (5, '')};
my $check = q{SELECT count(*), bool_and(decrypt(sealed) = plain), bool_and(decrypt(bound, enc_context('Größe', plain)) = plain),
	bool_and(decrypt(det) = plain), bool_and(det = ANY (search_terms(plain, 'enc-det'))), bool_and(det = encrypt(plain, 'enc-det')),
	bool_and(decrypt_as(arr, NULL::text[]) = ARRAY[plain, NULL]) FROM v};
my $all = 't|t|t|t|t|t';

for my $db ('utf8', 'latin1')
{
	database($db, $encoding{$db});
	utf8($db, q{CREATE EXTENSION envcrypt; SELECT create_key('enc'), create_key('enc-det', 'aes-256-siv')});
	utf8($db, sprintf $values, $latin);
	is(utf8($db, $check), "5|$all", "$db: opens its own");
	is(utf8($db, q{SELECT octet_length(decrypt_bytea(sealed)) FROM v WHERE id = 2}), 7, "$db: sealed as UTF-8");
	is(utf8($db, q{SELECT enc_context('Größe', 'é')}), '7:Größe,2:é,', "$db: a context counts bytes of UTF-8");
}

# ---- the same rows and keys in databases of other encodings
sub moved
{
	my ($from, $to, $encoding) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir_short() . "/$from-$to.sql";

	database($to, $encoding);
	$node->command_ok([ 'pg_dump', '-d', $node->connstr($from), '-f', $file, ($encoding eq 'SQL_ASCII' ? ('-E', 'UTF8') : ()) ], "$from: dumps");
	# an SQL_ASCII database takes the bytes as they come
	my $sql = slurp_file($file);
	$sql =~ s/^SET client_encoding = .*$/SET client_encoding = 'SQL_ASCII';/m if $encoding eq 'SQL_ASCII';
	open my $fh, '>:raw', $file or die;
	print $fh $sql;
	close $fh;
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-d', $node->connstr($to), '-f', $file ], "$to: restores");
	return;
}

moved('latin1', 'latin1_as_utf8', 'UTF8');
is(utf8('latin1_as_utf8', $check), "5|$all", 'LATIN1 opens in UTF8');
moved('utf8', 'utf8_as_latin1', 'LATIN1');
is(utf8('utf8_as_latin1', $check), "5|$all", 'UTF8 opens in LATIN1');
moved('latin1_as_utf8', 'back_again', 'LATIN1');
is(utf8('back_again', $check), "5|$all", 'LATIN1 to UTF8 and back');
moved('latin1', 'latin1_as_ascii', 'SQL_ASCII');
is(utf8('latin1_as_ascii', $check), "5|$all", 'LATIN1 opens in SQL_ASCII, as UTF-8');

# byte-identical, and the same to search for
my $bytes = q{SELECT string_agg(encode(det::bytea, 'hex'), ',' ORDER BY id) FROM v};
is(utf8('latin1_as_utf8', $bytes), utf8('latin1', $bytes), 'the same bytes everywhere');
my $again = q{SELECT encrypt('Größe', 'enc-det')};
is(utf8($_, $again), utf8('latin1', $again), "$_: equal text gives an equal value") for 'latin1_as_utf8', 'latin1_as_ascii', 'back_again';

# ---- not representable
utf8('utf8', q{CREATE TABLE wide AS SELECT encrypt('日本', 'enc') jp, encrypt_bound('🙂 CANARY', 'enc', '日本') smile, encrypt('Größe', 'enc') de});
utf8('utf8', q{DELETE FROM v});
moved('utf8', 'wide_latin1', 'LATIN1');
moved('utf8', 'wide_eucjp', 'EUC_JP');
moved('utf8', 'wide_ascii', 'SQL_ASCII');
state_is('wide_latin1', '22021', 'SELECT decrypt(jp) FROM wide', 'Japanese');
state_is('wide_latin1', '22021', 'SELECT try_decrypt(jp) FROM wide', 'Japanese, try_decrypt raises');
state_is('wide_latin1', '22021', 'SELECT decrypt_as(jp, NULL::text) FROM wide', 'Japanese, decrypt_as');
is(utf8('wide_latin1', 'SELECT decrypt_bytea(jp) FROM wide'), '\xe697a5e69cac', 'LATIN1: bytes can be had');
is(utf8('wide_eucjp', 'SELECT decrypt(jp) FROM wide'), '日本', 'UTF8 opens in EUC_JP');
is(utf8('wide_eucjp', 'SELECT octet_length(decrypt(jp)) FROM wide'), 4, 'EUC_JP: in its own encoding');
state_is('wide_eucjp', '22021', "SELECT decrypt(smile, '日本') FROM wide", 'a smile');
is(utf8('wide_eucjp', q{SELECT decrypt_bytea(smile, '日本') = '\xf09f99822043414e415259' FROM wide}), 't', 'EUC_JP: a context is the same text');
is(utf8('wide_ascii', q{SELECT decrypt(smile, '日本') FROM wide}), '🙂 CANARY', 'SQL_ASCII: UTF-8 as it stands');

# clients of other encodings: SJIS to EUC_JP and to UTF8
for my $db ('wide_eucjp', 'utf8')
{
	local $ENV{PGCLIENTENCODING} = 'SJIS';
	is(sql($node, 'SELECT decrypt(jp) FROM wide', db => $db), "\x93\xfa\x96\x7b", "$db: an SJIS client reads");
	sql($node, "CREATE TABLE sj AS SELECT encrypt('\x93\xfa\x96\x7b', 'enc') v", db => $db);
	is(utf8($db, 'SELECT decrypt(v) FROM sj'), '日本', "$db: an SJIS client writes");
}

# ---- SQL_ASCII: bytes that are valid UTF-8, as they stand; others never
is(utf8('wide_ascii', q{SELECT decrypt(encrypt('Größe 日本', 'enc'))}), 'Größe 日本', 'SQL_ASCII: UTF-8 bytes');
for my $bad ("\xe9", "CANARY\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80")
{
	my $name = 'bytes ' . unpack 'H*', $bad;
	state_is('wide_ascii', '22021', "SELECT encrypt('$bad', 'enc')", $name);
	state_is('wide_ascii', '22021', "SELECT encrypt_bound('v', 'enc', '$bad')", "$name in a context");
	state_is('wide_ascii', '22021', "SELECT search_terms('$bad', 'enc-det')", "$name to search for");
	is(utf8('wide_ascii', "SELECT decrypt_bytea(encrypt_bytea('\\x" . unpack('H*', $bad) . "', 'enc'))"), '\x' . unpack('H*', $bad),
		"wide_ascii: $name, sealed as bytes");
}
state_is($_, '22021', q{SELECT decrypt(encrypt_bytea('\xff43414e415259', 'enc'))}, 'bytes that are no text')
	for 'utf8', 'wide_latin1', 'wide_eucjp', 'wide_ascii';

$node->stop;
done_testing();
