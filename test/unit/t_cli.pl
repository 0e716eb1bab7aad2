#!/usr/bin/perl
#
# t_cli.pl
#	  The command-line tool: nothing is ever overwritten or lost, and nothing
#	  secret is printed.
#
# ENVCRYPT_CLI names the tool when it is not src/cli/envcrypt of this tree.

use strict;
use warnings;

use Cwd qw(abs_path);
use Fcntl qw(S_IMODE);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use Test::More;

my $tool = abs_path($ENV{ENVCRYPT_CLI} // dirname(__FILE__) . '/../../src/cli/envcrypt');
die "build the tool first\n" unless defined $tool && -x $tool;

my $top = tempdir('/tmp/evc-cli-XXXXXX', CLEANUP => 1);
my ($out, $err, $status);
my %printed;

sub slurp
{
	my ($path) = @_;

	open(my $fh, '<', $path) or die "$path: $!";
	local $/;
	return scalar <$fh> // '';
}

# Run the tool; the output goes to $out and $err, the exit status is returned.
sub tool
{
	my @args = @_;
	my $pid = fork() // die;

	if ($pid == 0)
	{
		open(STDOUT, '>', "$top/out") or die;
		open(STDERR, '>', "$top/err") or die;
		exec($tool, @args) or die;
	}
	waitpid($pid, 0);
	$status = $?;
	($out, $err) = (slurp("$top/out"), slurp("$top/err"));
	$printed{$out . $err} = 1;
	return $status & 127 ? -($status & 127) : $status >> 8;
}

sub tool_with_input
{
	my ($input, @args) = @_;

	open(my $fh, '>', "$top/in") or die;
	print $fh $input;
	close($fh);
	open(my $saved, '<&', \*STDIN) or die;
	open(STDIN, '<', "$top/in") or die;
	my $code = tool(@args);
	open(STDIN, '<&', $saved) or die;
	return $code;
}

sub mode
{
	return sprintf('%04o', S_IMODE((stat($_[0]))[2]));
}

sub secrets
{
	my ($path) = @_;

	my @found = slurp($path) =~ /"secret":"([0-9a-f]{64})"/g;
	return @found;
}

sub fresh_dir
{
	my ($name) = @_;

	mkdir("$top/$name", 0700) or die "$name: $!";
	return "$top/$name";
}

sub temp_files
{
	my ($dir) = @_;

	return glob("$dir/.envcrypt-*.tmp");
}

# A library that moves the home directory and kills the tool where told to.
sub build_shim
{
	open(my $fh, '>', "$top/shim.c") or die;
	print $fh <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void die_at(const char *where)
{
	const char *at = getenv("TEST_KILL");

	if (at != NULL && strcmp(at, where) == 0)
		kill(getpid(), SIGKILL);
}
struct passwd *getpwuid(uid_t uid)
{
	static struct passwd pw;

	pw.pw_uid = uid;
	pw.pw_dir = getenv("TEST_HOME");
	return pw.pw_dir == NULL ? NULL : &pw;
}
int fsync(int fd)
{
	(void) fd;
	die_at("fsync");
	return 0;
}
int linkat(int a, const char *b, int c, const char *d, int e)
{
	die_at("linkat");
	return ((int (*) (int, const char *, int, const char *, int)) dlsym(RTLD_NEXT, "linkat"))(a, b, c, d, e);
}
int unlinkat(int a, const char *b, int c)
{
	die_at("unlinkat");
	return ((int (*) (int, const char *, int)) dlsym(RTLD_NEXT, "unlinkat"))(a, b, c);
}
int renameat(int a, const char *b, int c, const char *d)
{
	die_at("renameat");
	return ((int (*) (int, const char *, int, const char *)) dlsym(RTLD_NEXT, "renameat"))(a, b, c, d);
}
C
	close($fh);
	return system("cc -w -shared -fPIC -o $top/shim.so $top/shim.c -ldl 2>/dev/null") == 0;
}

sub test_usage
{
	is(tool('--version'), 0, '--version');
	like($out, qr/^envcrypt \d+\.\d+\S*\n$/, 'prints name and version');
	is(tool('--help'), 0, '--help');
	like($out, qr/keygen.*inspect/s, 'names the commands');
	is(tool('keygen', '--help'), 0, 'keygen --help');
	my @wrong = ([], ['nonsense'], ['keygen', '--nonsense'], ['keygen', 'a', 'b'],
		['keygen', "$top/x", '--name'], ['keygen', "$top/x", '--name', 'two words'],
		['keygen', "$top/x", '--name', ''], ['keygen', "$top/x", '--name', 'n' x 129],
		['keygen', "$top/x", '--add'], ['keygen', "$top/x", '--verify', '--add', '--name', 'a'],
		['keygen', "$top/x", '--verify', '--name', 'a'], ['keygen', ''],
		['inspect'], ['inspect', 'a', 'b']);
	foreach my $args (@wrong)
	{
		is(tool(@$args), 2, "exit status 2: envcrypt @{[substr(\"@$args\", 0, 60)]}");
	}
	ok(!-e "$top/x", 'and no file is made');
}

sub test_create
{
	my $dir = fresh_dir('create');
	my $file = "$dir/keys.json";

	umask(0);
	is(tool('keygen', $file), 0, 'keygen makes a file');
	is(mode($file), '0600', 'of mode 0600');
	like($out, qr/^created \Q$file\E\n.*local:default/s, 'its path and root key are printed');
	like($out, qr/another machine.*ever be read again/s, 'and where a copy belongs');
	is(scalar(temp_files($dir)), undef, 'no temporary file is left');
	if ($> == 0)
	{
		like($out, qr/belongs to root.*runuser -u postgres/s, 'root is told whose it must be');
	}
	else
	{
		unlike($out, qr/runuser/, 'only root is told whose it must be');
	}

	my $before = slurp($file);
	is(tool('keygen', $file), 1, 'a second keygen fails');
	like($err, qr/exists already\n.*--add/s, 'and says what to do');
	is(slurp($file), $before, 'the file is as it was');
	is(tool('keygen', $file, '--name', 'other'), 1, 'also for another name');
	is(slurp($file), $before, 'the file is as it was');
	symlink($file, "$dir/link") or die;
	is(tool('keygen', "$dir/link"), 1, 'also through a link');
	is(slurp($file), $before, 'the file is as it was');

	is(tool('keygen', "$dir/none/keys.json"), 1, 'no directory is made for a named file');
	ok(!-e "$dir/none", 'it is not there');
	is(tool('keygen', "$dir/b.json", '--name', 'eu:pii@1/x-y_z.'), 0, 'a name of every kind of character');
	isnt((secrets("$dir/b.json"))[0], (secrets($file))[0], 'secrets differ');

	chmod(0770, $dir) or die;
	is(tool('keygen', "$dir/c.json"), 1, 'not in a directory others can write');
	ok(!-e "$dir/c.json", 'no file is made there');
	like($err, qr/chmod go-w/, 'and it says what to do');
	chmod(0700, $dir) or die;
}

sub test_add
{
	my $dir = fresh_dir('add');
	my $file = "$dir/keys.json";

	is(tool('keygen', $file, '--add', '--name', 'a'), 1, '--add makes no file');
	ok(!-e $file, 'none is there');
	is(tool('keygen', $file), 0, 'a file');
	my @old = secrets($file);
	chmod(0400, $file) or die;
	is(tool('keygen', $file, '--add', '--name', 'second'), 0, '--add');
	is(mode($file), '0400', 'the mode is kept');
	my @new = secrets($file);
	is(scalar(@new), 2, 'there are two secrets');
	is($new[0], $old[0], 'the old one is kept');
	my $before = slurp($file);
	is(tool('keygen', $file, '--add', '--name', 'second'), 1, 'a name that exists is refused');
	is(slurp($file), $before, 'the file is as it was');

	mkdir("$dir/other", 0700) or die;
	symlink('../keys.json', "$dir/other/link") or die;
	is(tool('keygen', "$dir/other/link", '--add', '--name', 'third'), 0, '--add through a link');
	ok(-l "$dir/other/link", 'the link is still a link');
	is(scalar(secrets($file)), 3, 'and the file it leads to was changed');

	chmod(0640, $file) or die;
	is(tool('keygen', $file, '--add', '--name', 'x'), 1, 'no --add to a file its group may read');
	chmod(0600, $file) or die;
	open(my $fh, '>>', $file) or die;
	print $fh 'x';
	close($fh);
	$before = slurp($file);
	is(tool('keygen', $file, '--add', '--name', 'fourth'), 1, 'no --add to a damaged file');
	is(slurp($file), $before, 'the file is as it was');
}

sub run_together
{
	my @commands = @_;
	my @pids;
	my $failed = 0;

	foreach my $command (@commands)
	{
		my $pid = fork() // die;

		if ($pid == 0)
		{
			open(STDOUT, '>', '/dev/null') or die;
			open(STDERR, '>', '/dev/null') or die;
			exec($tool, @$command) or die;
		}
		push(@pids, $pid);
	}
	foreach my $pid (@pids)
	{
		waitpid($pid, 0);
		$failed++ if $? != 0;
	}
	return $failed;
}

sub test_concurrent
{
	my $dir = fresh_dir('concurrent');
	my $file = "$dir/keys.json";

	is(run_together(map { ['keygen', $file] } 1 .. 8), 7, 'of eight keygens one wins');
	is(run_together(map { ['keygen', $file, '--add', '--name', "n$_"] } 1 .. 12), 0,
		'twelve at a time with --add');
	is(tool('keygen', $file, '--verify'), 0, 'the file is good');
	is(scalar(() = $out =~ /local:/g), 13, 'and has all thirteen');
	is(scalar(secrets($file)), 13, 'with their secrets');
	is(run_together(map { ['keygen', $file, '--add', '--name', 'same'] } 1 .. 5), 4,
		'of five that add one name one wins');
}

sub test_verify
{
	my $dir = fresh_dir('verify');
	my $file = "$dir/keys.json";

	is(tool('keygen', $file, '--verify'), 1, '--verify of no file');
	like($err, qr/does not exist/, 'says so');
	is(tool('keygen', $file, '--name', 'pii'), 0, 'a file');
	my ($secret) = secrets($file);
	my ($id) = slurp($file) =~ /"primary":"([0-9a-f]{16})"/;
	is(tool('keygen', $file, '--verify'), 0, '--verify');
	like($out, qr/local:pii\s+version $id\s.*enabled, primary/, 'prints name and version');

	my $text = slurp($file);
	my $bad = $text;
	substr($bad, index($bad, $secret), 1) =~ tr/0-9a-f/1-9a-f0/;
	foreach my $case ([$bad, 'check value'], [substr($text, 0, 200), 'JSON'],
		[$text =~ s/"version":1/"version":2/r, 'version'], ['', 'JSON'])
	{
		open(my $fh, '>', $file) or die;
		print $fh $case->[0];
		close($fh);
		is(tool('keygen', $file, '--verify'), 1, "--verify of a bad file ($case->[1])");
		like($err, qr/\Q$file\E.*\Q$case->[1]\E/, 'says why');
	}
	open(my $fh, '>', $file) or die;
	print $fh $text;
	close($fh);
	chmod(0604, $file) or die;
	is(tool('keygen', $file, '--verify'), 1, '--verify of a file others may read');
	like($err, qr/chmod 600/, 'says what to do');
	is(slurp($file), $text, 'the file is as it was');
	chmod(0600, $file) or die;
	is(tool('keygen', $file, '--verify'), 0, 'and good again');
}

sub test_default_path
{
	my $home = fresh_dir('home');
	local $ENV{LD_PRELOAD} = "$top/shim.so";
	local $ENV{TEST_HOME} = $home;
	local $ENV{HOME} = '/nonexistent';

	is(tool('keygen', '--verify'), 1, '--verify makes nothing');
	is(tool('keygen', '--add', '--name', 'x'), 1, '--add makes nothing');
	ok(!-e "$home/.envcrypt", 'nothing is there');
	is(tool('keygen'), 0, 'keygen without a file');
	is(mode("$home/.envcrypt"), '0700', 'makes the directory, mode 0700');
	is(mode("$home/.envcrypt/root-keys.json"), '0600', 'and the file, in the home of the user database');
	is(tool('keygen', '--verify'), 0, 'which --verify finds');
	is(tool('keygen', '~/.envcrypt/root-keys.json', '--verify'), 0, 'also by ~');
	is(tool('keygen'), 1, 'and keygen does not replace');
	$ENV{TEST_HOME} = "$top/nohome";
	is(tool('keygen'), 1, 'a home directory is not made');
	ok(!-e "$top/nohome", 'it is not there');
	delete $ENV{TEST_HOME};
	is(tool('keygen'), 1, 'a user without a home directory');
	like($err, qr/name the file in full/, 'is told what to do');
}

sub test_killed
{
	my $dir = fresh_dir('killed');
	my $file = "$dir/keys.json";

	foreach my $where ('fsync', 'linkat')
	{
		local $ENV{LD_PRELOAD} = "$top/shim.so";
		local $ENV{TEST_KILL} = $where;
		is(tool('keygen', $file), -9, "keygen killed before $where");
		ok(!-e $file, 'leaves no file');
	}
	is(scalar(my @left = temp_files($dir)), 2, 'but temporary files');
	is(mode($_), '0600', 'of mode 0600') foreach temp_files($dir);
	is(tool('keygen', $file), 0, 'which do not keep the next keygen from its work');
	unlink($file);
	{
		local $ENV{LD_PRELOAD} = "$top/shim.so";
		local $ENV{TEST_KILL} = 'unlinkat';
		is(tool('keygen', $file), -9, 'keygen killed before unlinkat');
	}
	is(tool('keygen', $file, '--verify'), 0, 'leaves a good file');

	my $before = slurp($file);
	foreach my $where ('fsync', 'renameat')
	{
		local $ENV{LD_PRELOAD} = "$top/shim.so";
		local $ENV{TEST_KILL} = $where;
		is(tool('keygen', $file, '--add', '--name', 'a'), -9, "--add killed before $where");
		is(slurp($file), $before, 'leaves the file as it was');
	}
	is(tool('keygen', $file, '--add', '--name', 'a'), 0, 'and the lock is free');
	is(tool('keygen', $file, '--verify'), 0, 'the file is good');
}

sub test_inspect
{
	my $value = 'ec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685';
	my $random = 'ec010300' . 'ffffffffffffff01' . '00' x 45;

	is(tool('inspect', $value), 0, 'inspect');
	like($out, qr/suite:\s+3 \(AES-256-SIV\)/, 'the suite');
	like($out, qr/kvid:\s+0102030405060708\n/, 'the kvid');
	like($out, qr/flags:\s+00\n.*context:\s+none\n.*padded:\s+no\n/s, 'the flags');
	like($out, qr/plaintext:\s+1 bytes\noverhead:\s+28 bytes\n/, 'the lengths');
	my $plain = $out;
	is(tool('inspect', "\\x$value"), 0, 'with \x');
	is($out, $plain, 'the same');
	is(tool('inspect', uc($value)), 0, 'in upper case');
	is($out, $plain, 'the same');
	is(tool_with_input(" \\x$value\n", 'inspect', '-'), 0, 'from standard input');
	is($out, $plain, 'the same');
	is(tool('inspect', $random), 0, 'a value with context and padding');
	like($out, qr/flags:\s+03\n.*context:\s+bound\n.*padded:\s+yes\nplaintext:\s+unknown, padded to 5 bytes\noverhead:\s+52/s,
		'its lines');
	is(tool_with_input('ec010000' . '00000000000000aa' . '00' x 1_000_040, 'inspect', '-'), 0, 'a megabyte');
	like($out, qr/plaintext:\s+1000000 bytes/, 'its length');

	my %bad = ('' => 'nothing', 'ec' => 'a byte', "ed" . substr($value, 2) => 'another magic',
		substr($value, 0, 54) => 'too short', 'ec0300000000000000000000' . '00' x 17 => 'kvid 0',
		'ec0380' . substr($value, 6) => 'an unknown flag', 'ec7f' . substr($value, 4) => 'an unknown suite',
		'alice@example.com' => 'a plaintext', substr($value, 0, 57) => 'an odd length',
		"$value zz" => 'text after it');
	foreach my $input (sort keys %bad)
	{
		is(tool('inspect', $input), 1, "malformed: $bad{$input}");
		ok($out eq '' && $err ne '' && (length($input) < 3 || index($err, $input) < 0),
			'says why and does not show it');
	}
	is(tool_with_input("alice\0\n", 'inspect', '-'), 1, 'a NUL');
	unlike($err, qr/alice/, 'is not shown');
}

test_usage();
test_create();
test_add();
test_concurrent();
test_verify();
test_inspect();
SKIP:
{
	skip 'no compiler', 1 unless build_shim();
	test_default_path();
	test_killed();
}
my %secret = map { $_ => 1 } map { secrets($_) } grep { -f } glob("$top/*/*.json $top/*/.envcrypt*/*.json $top/*/.*.tmp");
ok(scalar(keys %secret) > 20, 'secrets were made');
my $all = join('', keys %printed);
is(scalar(grep { index($all, substr($_, 0, 16)) >= 0 || index($all, substr($_, 40, 16)) >= 0 } keys %secret), 0,
	'and none was printed');
done_testing();
