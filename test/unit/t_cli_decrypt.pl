#!/usr/bin/perl
#
# t_cli_decrypt.pl
#	  envcrypt keyring verify and envcrypt decrypt, on values that the second
#	  implementation (test/interop) sealed: what opens, what is left, and that
#	  everything else passes byte for byte.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

my $tool = abs_path($ENV{ENVCRYPT_CLI} // dirname(__FILE__) . '/../../src/cli/envcrypt');
die "build the tool first\n" unless defined $tool && -x $tool;

my $top = tempdir('/tmp/evc-dec-XXXXXX', CLEANUP => 1);
my $corpus = abs_path(dirname(__FILE__) . '/../fuzz/corpus');
my ($out, $err);

# The root key and the secrets are those of docs/keys.md's vectors.
my %value = (
	plain => 'ec0100000102030405060708000102030405060708090a0b0c0d0e0f10111213141516172429f6b7157433babee60ce1780c43d7c77297f11b',
	padded => 'ec0102000102030405060708000102030405060708090a0b0c0d0e0f10111213141516172424f3ba1e8095264136b0e862906419454d81edb2ce60142de02b2f77a0',
	bound => 'ec0101000102030405060708000102030405060708090a0b0c0d0e0f1011121314151617362ae2b01fc0060a1a3adff96c21e97c8266b5c0e5',
	simple => 'ec030100111213141516171887adfab56df62e670dcfe488aed25d1b28b38c2cac65',
	a => 'ec030000111213141516171893e4d925ff3ce86e8a5d7f3b41063f70ea',
	bytes => 'ec0100000102030405060708000102030405060708090a0b0c0d0e0f101112131415161754babdeccae0c5daeefd7985a322df5a8e86',
	special => 'ec0100000102030405060708000102030405060708090a0b0c0d0e0f10111213141516170e2a547572c664532e42d58c40ccf637de212ba2eb38181f33048e8f6d6ab687f1',
	const => 'ec0301001112131415161718da476a674e1c0025ca8bfd992cabbb7ac816997bb6',
	empty => 'ec03000011121314151617180da3a3dee1771fdd42ea0d36d2ff0b9e',
	foreign => 'ec030000212223242526272802e0c35b363515844c93a638d2afec3790',
);

sub slurp
{
	my ($path) = @_;

	open(my $fh, '<', $path) or die "$path: $!";
	local $/;
	return scalar <$fh> // '';
}

sub spew
{
	my ($name, $text, $mode) = @_;

	open(my $fh, '>', "$top/$name") or die;
	print $fh $text;
	close($fh);
	chmod($mode // 0600, "$top/$name") or die;
	return "$top/$name";
}

# Run the tool on an input; returns the exit status.
sub tool
{
	my ($input, @args) = @_;

	spew('in', $input);
	my $pid = fork() // die;
	if ($pid == 0)
	{
		open(STDIN, '<', "$top/in") or die;
		open(STDOUT, '>', "$top/out") or die;
		open(STDERR, '>', "$top/err") or die;
		exec($tool, @args) or die;
	}
	waitpid($pid, 0);
	my $status = $?;
	($out, $err) = (slurp("$top/out"), slurp("$top/err"));
	return $status & 127 ? -($status & 127) : $status >> 8;
}

my $keyfile = spew('root-keys.json', slurp("$corpus/keyfile/vector.json"));
my $keyring = spew('keyring.json', slurp("$corpus/keyring/two.json"));
my @decrypt = ('decrypt', '--keyring', $keyring, '--key-file', $keyfile);

# A value as COPY's text form has it.
sub copied { return '\\\\x' . $value{$_[0]} }

sub dump_of
{
	my ($columns, @rows) = @_;
	return "SET client_encoding = 'UTF8';\n\nCOPY public.t ($columns) FROM stdin;\n"
	  . join('', map { join("\t", @$_) . "\n" } @rows) . "\\.\n\nSELECT 1;\n";
}

sub opens
{
	my ($what, $in, $expected, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $status = tool($in, @decrypt, @args);

	is($status, 0, "$what: exit status") or diag($err);
	return is($out, $expected, "$what: the output");
}

sub leaves
{
	my ($what, $in, $like, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is(tool($in, @decrypt, @args), 1, "$what: exit status 1");
	like($err, $like, "$what: says so");
	return is($out, $in, "$what: left as it was");
}

sub test_usage
{
	foreach my $args (['decrypt'], [@decrypt, 'file'], [@decrypt, '--nonsense'], ['decrypt', '--keyring'],
		['decrypt', '--keyring', '-'], [@decrypt, '--column', 'c'], [@decrypt, '--column', ''], [@decrypt, '--column', 't.'],
		[@decrypt, '--column', 't.c='], [@decrypt, '--column', 't.c=='], [@decrypt, '--column', 'a.b.c.d'],
		[@decrypt, '--column', '"t.c'], [@decrypt, '--column', 't.c=enc_context('], [@decrypt, '--column', 't.c=enc_context(a'],
		[@decrypt, '--column', 't.c=enc_context(a)b'], [@decrypt, '--column', 't.c=enc_context(a,)'],
		[@decrypt, '--column', 't.c=enc_context(' . join(',', ('a') x 17) . ')'],
		['keyring'], ['keyring', 'verify'], ['keyring', 'verify', 'a', 'b'], ['keyring', 'nonsense', 'a'],
		['keyring', 'verify', 'a', '--key-file'])
	{
		is(tool('', @$args), 2, 'exit status 2: envcrypt ' . join(' ', grep { !m{^/} } @$args));
	}
	is(tool('', $_, '--help'), 0, "$_ --help") foreach 'decrypt', 'keyring';
	like($out, qr/Examples:/, 'has examples');
	is(tool('', '--help'), 0, '--help');
	like($out, qr/keyring verify.*decrypt/s, 'names the commands');
}

sub test_verify
{
	is(tool('', 'keyring', 'verify', $keyring, '--key-file', $keyfile), 0, 'keyring verify');
	is($out, "key mail\n  version 1, 1112131415161718, primary\n    local:default: ok\n"
		. "key pii\n  version 1, 0102030405060708, primary\n    local:default: ok\n2 of 2 versions open\n", 'its output');
	is(tool(slurp($keyring), 'keyring', 'verify', '-', '--key-file', $keyfile), 0, 'from standard input');
	is(tool('', 'keyring', 'verify', "$corpus/keyring/commitment.json", '--key-file', $keyfile), 1, 'another commitment');
	like($out, qr/does not fit the version's commitment\n    NOT READABLE.*\n1 of 2 versions open/s, 'is told');
	is(tool('', 'keyring', 'verify', "$corpus/keyring/other-endpoint.json", '--key-file', $keyfile), 1, 'another endpoint');
	foreach my $case (['truncated', 'not valid JSON'], ['same-kvid', 'same kvid'], ['root-key', 'ENDPOINT:KEY'])
	{
		is(tool('', 'keyring', 'verify', "$corpus/keyring/$case->[0].json", '--key-file', $keyfile), 1, "refused: $case->[0]");
		like($err, qr/$case->[1]/, 'says why');
	}
	is(tool('', 'keyring', 'verify', "$top/none", '--key-file', $keyfile), 1, 'no such export');
	is(tool('', 'keyring', 'verify', $keyring, '--key-file', "$top/none"), 1, 'no such key file');
	chmod(0644, $keyfile);
	is(tool('', 'keyring', 'verify', $keyring, '--key-file', $keyfile), 1, 'a key file others may read');
	chmod(0600, $keyfile);
}

sub test_dump
{
	opens('no column named', dump_of('id, v, w', ['1', copied('plain'), copied('a')], ['2', '\\N', copied('empty')],
		['3', copied('padded'), copied('special')]),
		dump_of('id, v, w', ['1', 'plain', 'a'], ['2', '\\N', ''], ['3', 'padded', "Zo\xc3\xab\\t\"quoted\"\\\\N,\\n"]));
	like($err, qr/^envcrypt: 3 rows, 5 values opened, 0 failures\n\z/, 'the summary');
	opens('contexts', dump_of('id, v, w, c', ['7', copied('bound'), copied('simple'), copied('const')]),
		dump_of('id, v, w, c', ['7', 'bound', 'simple', 'const']), '--column', 't.v=enc_context(=note,id)',
		'--column', 'public.t.w=id', '--column', 't.c==a,b');
	opens('quoted parts', dump_of('"i,d", v, c', ['7', copied('bound'), copied('const')]),
		dump_of('"i,d", v, c', ['7', 'bound', 'const']), '--column', 't.v=enc_context(="note","i,d")', '--column', 't.c=="a,b"');
	opens('bytes', dump_of('v', [copied('bytes')]), dump_of('v', ['\\\\x00ff']), '--bytea-column', 't.v');
	opens('arrays', dump_of('v', ['{"' . '\\' x 4 . "x$value{plain}\",NULL,\"" . '\\' x 4 . "x$value{special}\"}"]),
		dump_of('v', ["{\"plain\",NULL,\"Zo\xc3\xab\\t" . '\\' x 2 . '"quoted' . '\\' x 2 . '"' . '\\' x 4 . "N,\\n\"}"]));
	opens('only what is named', dump_of('v, w', [copied('plain'), copied('a')]), dump_of('v, w', [copied('plain'), 'a']), '--column', 't.w');
	opens('and all', dump_of('v, w', [copied('plain'), copied('simple')]), dump_of('v, w', ['plain', 'simple']),
		'--column', 't.w==7', '--all');
	opens('other tables', dump_of('v', [copied('a')]) . dump_of('v', ['b']) =~ s/public\.t/x.t/r,
		dump_of('v', ['a']) . dump_of('v', ['b']) =~ s/public\.t/x.t/r, '--column', 'public.t.v');
	opens('line ends of Windows', dump_of('v, w', [copied('a'), 'b']) =~ s/\n/\r\n/gr,
		dump_of('v, w', ['a', 'b']) =~ s/\n/\r\n/gr);
	opens('what is like a value', dump_of('v', ['\\\\xec01'], ['\\\\x6162'], ['xec0'], ['{xec0}'], ['\\N'], ['']),
		dump_of('v', ['\\\\xec01'], ['\\\\x6162'], ['xec0'], ['{xec0}'], ['\\N'], ['']));
	opens('no rows', '', '');
	my $ddl = "CREATE TABLE public.t (\n    id integer,\n    v envcrypt.enc_bytea,\n    w envcrypt.enc_bytea(deterministic) NOT NULL\n);\n";
	opens('types', $ddl, $ddl =~ s/envcrypt.enc_bytea(\(deterministic\))?/text/gr);
	is(tool($ddl, @decrypt, '--bytea-column', 't.v'), 1, 'a column whose rows never came');
	is($out, $ddl =~ s/v envcrypt.enc_bytea/v bytea/r, 'types of named columns only');
}

sub test_left
{
	my $tampered = $value{plain} =~ s/(.)$/$1 eq '0' ? '1' : '0'/er;

	leaves('a context', dump_of('v', [copied('bound')]), qr/table public\.t, column v, row 1: .*sealed with a context/);
	leaves('another key', dump_of('v', [copied('foreign')]), qr/no key version 2122232425262728/);
	leaves('bytes', dump_of('v', [copied('bytes')]), qr/--bytea-column/);
	leaves('modified', dump_of('v', ['\\\\x' . $tampered]), qr/row 1: the value was modified/);
	leaves('another context', dump_of('id, v', ['8', copied('bound')]), qr/not the one it was sealed with/,
		'--column', 't.v=enc_context(=note,id)');
	leaves('a context that is null', dump_of('id, v', ['\\N', copied('bound')]), qr/column id, .*is null/, '--column', 't.v=id');
	leaves('no value', dump_of('v', ['secret']), qr/malformed envelope/, '--column', 't.v');
	unlike($err, qr/secret/, 'no value: is not shown');
	leaves('a short row', dump_of('id, v', ['1']), qr/fewer columns/);
	leaves('too deep', dump_of('v', ['{"{\\"' . '\\' x 8 . "x$value{plain}\\\"}\"}"]), qr/nested too deep/);
	leaves('an INSERT', "INSERT INTO t VALUES ('\\x$value{plain}');\n", qr/line 1, outside COPY data/);
	leaves('many', dump_of('v', ([copied('foreign')]) x 30), qr/30 failures/);
	is(scalar(() = $err =~ /row \d/g), 20, 'many: twenty are told');
	foreach my $case (["COPY t (v) FROM stdin;\na\n", 'ends within'], ["PGDMP\1\n", 'pg_restore'],
		["SET client_encoding = 'LATIN1';\n", '-E UTF8'], ["a\0b\n", 'NUL'])
	{
		is(tool($case->[0], @decrypt), 1, "refused: $case->[1]");
		like($err, qr/$case->[1]/, 'says why');
	}
}

sub test_csv
{
	opens('CSV', qq{id,"v ""1""",w\n7,\\x$value{plain},"\\x$value{special}"\n8,,"x\ny ""z"""\n},
		qq{id,"v ""1""",w\n7,"plain","Zo\xc3\xab\t""quoted""\\N,\n"\n8,,"x\ny ""z"""\n}, '--csv');
	opens('CSV, columns', "id,v,w\r\n7,\\x$value{bound},\\x$value{plain}\r\n", qq{id,v,w\r\n7,"bound",\\x$value{plain}\r\n}, '--csv',
		'--column', 'v=enc_context(=note,id)');
	opens('CSV, a byte order mark', "\xef\xbb\xbfv\n\\x$value{simple}", qq{\xef\xbb\xbfv\n"simple"}, '--csv', '--column', 'v==7');
	opens('CSV, empty and bytes', "v\n\\x$value{empty}\n", qq{v\n""\n}, '--csv');
	opens('CSV, bytes', "v\n\\x$value{bytes}\n", qq{v\n"\\x00ff"\n}, '--csv', '--bytea-column', 'v');
	leaves('CSV, a context', "v\n\\x$value{bound}\n", qr/^envcrypt: the input, column v, row 1/, '--csv');
	is(tool(qq{v\n"open}, @decrypt, '--csv'), 1, 'CSV that ends within quotes');
	is(tool('', @decrypt, '--csv'), 1, 'CSV without a header');
	is(tool("v\n", @decrypt, '--csv', '--column', 'nosuch'), 1, 'CSV without that column');
}

# A megabyte in one row, and memory that does not grow with the rows.
sub test_size
{
	my $rows = join('', map { "$_\t\\\\x$value{a}\n" } 1 .. 200_000);

	is(tool("COPY t (id, v) FROM stdin;\n$rows\\.\n", 'decrypt', @decrypt[1 .. $#decrypt]), 0, '200000 rows');
	like($err, qr/200000 rows, 200000 values opened/, 'are opened');
	is(tool('COPY t (v) FROM stdin;' . "\n" . ('x' x 3_000_000) . "\n\\.\n", @decrypt), 0, 'a row of megabytes');
	SKIP:
	{
		my $sh = "ulimit -v 60000; exec '$tool' " . join(' ', map { "'$_'" } @decrypt) . " < $top/in > /dev/null 2>&1";
		skip 'the tool does not start in so little (a memory checker)', 1
		  if system('sh', '-c', "ulimit -v 60000; exec '$tool' --version > /dev/null 2>&1") != 0;
		spew('in', "COPY t (id, v) FROM stdin;\n$rows\\.\n");
		is(system('sh', '-c', $sh), 0, 'in 60 MB of address space');
	}
}

# What bash would offer after these words.
sub completed
{
	my @words = @_;
	my $file = abs_path(dirname(__FILE__) . '/../../completions/envcrypt.bash');
	my $script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _envcrypt; echo "${COMPREPLY[*]}"';

	open(my $fh, '-|', 'bash', '-c', $script, 'bash', $file, @words) or die;
	chomp(my $line = <$fh> // '');
	return $line;
}

sub test_completion
{
	is(completed('envcrypt', ''), 'keygen inspect keyring decrypt --help --version', 'completion of commands');
	is(completed('envcrypt', 'decrypt', '--k'), '--keyring --key-file', 'of options');
	is(completed('envcrypt', 'keyring', 'v'), 'verify', 'of verify');
	is(completed('envcrypt', 'keyring', 'verify', "$top/root"), "$top/root-keys.json", 'of files');
	is(completed('envcrypt', 'decrypt', '--keyring', "$top/keyr"), "$top/keyring.json", 'and of those an option takes');
	tool('', 'decrypt', '--help');
	foreach my $option (split / /, completed('envcrypt', 'decrypt', '--'))
	{
		like($out . '--help', qr/\Q$option\E\b/, "$option is in --help");
	}
}

test_usage();
test_completion();
test_verify();
test_dump();
test_left();
test_csv();
test_size();
done_testing();
