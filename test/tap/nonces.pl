# Nonces in the server: drawn anew in every process and top-level transaction,
# counted up and never back in between, and never made up when the kernel gives
# no random bytes.  Ten million of them: test/unit/t_nonce_processes.c.

use strict;
use warnings FATAL => 'all';

use EnvcryptSession;
use EnvcryptTest;
use File::Basename;
use Math::BigInt;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $flag = "$dir/no-random";
my $cc = $ENV{CC} // 'cc';
system_or_bail($cc, '-shared', '-fPIC', '-o', "$dir/failing_random.so",
	dirname(__FILE__) . '/../lib/failing_random.c');

my $node;
{
	local $ENV{LD_PRELOAD} = "$dir/failing_random.so";
	local $ENV{FAILING_RANDOM_FLAG} = $flag;
	$node = new_cluster('nonces', conf => q{
		max_connections = 40
		max_worker_processes = 16
		max_parallel_workers = 8
		autovacuum = off
	});
}
sql($node, q{
	SELECT create_key('k');
	SELECT create_key('s', 'aes-256-siv');
	CREATE FUNCTION nonce(e enc_bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
		AS $$SELECT encode(substring(e::bytea FROM 13 FOR 24), 'hex')$$;
	CREATE TABLE numbers AS SELECT n FROM generate_series(1, 10000) n;
	CREATE UNLOGGED TABLE made (nonce text);
	ANALYZE numbers;
});
my $s = EnvcryptSession->new($node);

# ---- when a draw is made

my $one = q{SELECT nonce(encrypt('', 'k'))};
sub nonces
{
	$s->run($_[0]);
	return grep { /^[0-9a-f]{48}$/ } split /\n/, $s->output;
}

sub prefix { return substr($_[0], 0, 24); }
sub steps { return Math::BigInt->from_hex(substr($_[1], 24)) - Math::BigInt->from_hex(substr($_[0], 24)); }

sub all_apart
{
	my ($name, @n) = @_;
	my (%prefix, %iv);

	$prefix{ prefix($_) }++ foreach @n;
	$iv{ substr($_, 24) }++ foreach @n;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(keys(%prefix) . ' ' . keys(%iv), @n . ' ' . @n, $name);
}

# An IV that wraps at 2^96 between two of these would be a surprise of 1 in 2^90.
sub counts_up
{
	my ($name, @n) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(join(' ', map { prefix($n[$_]) eq prefix($n[ $_ - 1 ]) ? steps($n[ $_ - 1 ], $n[$_]) : 'redrawn' } 1 .. $#n),
		join(' ', (1) x $#n), $name);
}

all_apart('another draw in every transaction', nonces("$one; $one; $one; $one"));
counts_up('one draw in a transaction block', nonces("BEGIN; $one; $one; $one; COMMIT"));
counts_up('one draw in a statement', nonces(q{SELECT nonce(encrypt('', 'k')) FROM generate_series(1, 5)}));
my @kept = nonces("BEGIN; $one; COMMIT; BEGIN; $one; ROLLBACK; BEGIN; $one; COMMIT AND CHAIN; $one; ROLLBACK AND CHAIN; $one; COMMIT");
is(scalar(@kept), 5, 'five transactions');
all_apart('COMMIT, ROLLBACK and AND CHAIN end one', @kept);
counts_up('nothing takes a nonce back: savepoints rolled back or released, errors in them',
	nonces("BEGIN; $one; SAVEPOINT a; $one; ROLLBACK TO a; $one; SAVEPOINT b; $one; RELEASE b; $one;
		SAVEPOINT c; SELECT 1/0; ROLLBACK TO c; $one; COMMIT"));

# Values of a PL/pgSQL block that its EXCEPTION clause undid were seen all the same.
my $block = q{
	DO $$ BEGIN
		PERFORM set_config('test.n', nonce(encrypt('', 'k')), true);
		BEGIN
			PERFORM set_config('test.lost', nonce(encrypt('', 'k')), false);
			RAISE EXCEPTION '%%', nonce(encrypt('', 'k'));
		EXCEPTION WHEN OTHERS THEN
			PERFORM set_config('test.n', current_setting('test.n') || E'\n' || SQLERRM, true);
		END;
		PERFORM set_config('test.n', current_setting('test.n') || E'\n' || nonce(encrypt('', 'k')), true);
	END $$};
my @block = nonces('BEGIN; ' . ($block =~ s/%%/%/r) . "; SELECT current_setting('test.n'); COMMIT");
is(join(' ', map { steps($block[ $_ - 1 ], $block[$_]) } 1 .. $#block), '2 1', 'nor does an EXCEPTION clause');

sql($node, q{
	CREATE PROCEDURE committing(n int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. n LOOP
			INSERT INTO made SELECT nonce(encrypt('', 'k')) FROM generate_series(1, 3);
			IF i % 4 = 0 THEN
				ROLLBACK;
			ELSE
				COMMIT;
			END IF;
		END LOOP;
	END $$});
$s->run('CALL committing(8)');
is($s->run('SELECT count(DISTINCT nonce) || \' \' || count(DISTINCT substr(nonce, 1, 24)) FROM made'), '18 6',
	'COMMIT in a procedure ends a draw');
$s->run('TRUNCATE made');

# ---- sixteen sessions at once, by every way values are made: no nonce twice

my $parallel = 'SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0;
	SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2;';
my $many = q{SELECT nonce(encrypt(n::text, 'k')) FROM numbers};
my $script = qq{
	\\set ON_ERROR_STOP off
	COPY ($many) TO STDOUT;
	BEGIN; SAVEPOINT a; COPY ($many LIMIT 2000) TO STDOUT; ROLLBACK TO a; COPY ($many LIMIT 2000) TO STDOUT; ROLLBACK;
	COPY (SELECT nonce(encrypt('', 'k')) FROM numbers WHERE 1 / (1500 - n) < 2) TO STDOUT;
	COPY (SELECT nonce(encrypt('', 'k')) FROM numbers WHERE 1 / (1500 - n) < 2) TO STDOUT;
	BEGIN; $parallel COPY ($many) TO STDOUT; COMMIT;
	CALL committing(200);
	BEGIN; DECLARE c CURSOR FOR $many; FETCH 1000 FROM c; SELECT nonce(encrypt('', 'k')); FETCH 1000 FROM c; ROLLBACK;
	} . join('', map { "SELECT nonce(encrypt('$_', 'k'));\n" } 1 .. 200);
append_to_file("$dir/script.sql", $script);

my @clients = map {
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open STDOUT, '>', "$dir/out.$_" or die;
		open STDERR, '>', "$dir/err.$_" or die;
		exec 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', "$dir/script.sql";
	}
	$pid;
} 1 .. 16;
waitpid $_, 0 foreach @clients;
append_to_file("$dir/out.table", sql($node, 'SELECT nonce FROM made') . "\n");

my ($lines, %seen, %draws);
foreach my $file (glob "$dir/out.*")
{
	open my $in, '<', $file or die "$file: $!";
	while (my $n = <$in>)
	{
		chomp $n;
		next unless $n =~ /^[0-9a-f]{48}$/;
		$lines++;
		$seen{ pack 'H*', $n }++;
		$draws{ substr $n, 0, 24 }++;
	}
	close $in;
}
cmp_ok($lines, '>', 400_000, "$lines values from sixteen sessions");
is($lines - keys %seen, 0, 'no nonce twice');
# 200 single statements, 150 commits of a procedure, and workers: at least
cmp_ok(scalar(keys %draws), '>', 16 * 350, scalar(keys %draws) . ' draws');
is(scalar(grep { slurp_file("$dir/err.$_") !~ /division by zero/ } 1 .. 16), 0, 'statements failed in their middle, as they should');
%seen = ();

# The leader keeps out of the query: it may be done with it before a worker starts.
$s->run("BEGIN; $parallel SET LOCAL parallel_leader_participation = off");
my $leader = $s->run(q{SELECT substring(encrypt('', 'k')::bytea FROM 13 FOR 12)});
my $draws = $s->run(qq{SELECT count(DISTINCT p) FILTER (WHERE p <> '$leader') FROM
	(SELECT substring(encrypt('', 'k')::bytea FROM 13 FOR 12) AS p FROM numbers) x});
cmp_ok($draws, '>', 0, "parallel workers draw for themselves: $draws draws beside the leader's");
$s->run('COMMIT');

# ---- no random bytes: an error, never a value

my $open = EnvcryptSession->new($node);
my $value = $open->run(q{SELECT encrypt('sealed before', 'k')});
my ($running) = nonces("BEGIN; $one");
append_to_file($flag, '');

is(scalar(grep { $open->run(q{SELECT encrypt('x', 'k')}) eq '58000!' } 1 .. 50), 50,
	'a session that has sealed before: fifty times an error');
like($open->error, qr/the kernel gave no random bytes/, 'that says why');
is(sqlstate($node, q{SELECT encrypt('x', 'k')}), '58000', 'a new session');
is($open->run(q{INSERT INTO made SELECT encrypt(n::text, 'k') FROM numbers}), '58000!', 'INSERT .. SELECT');
is($open->run("BEGIN; $parallel COPY ($many) TO STDOUT"), '58000!', 'parallel workers');
$open->run('ROLLBACK');
is($open->run(q{SELECT encrypt_bound('x', 'k', 'c')}), '58000!', 'with a context');
is($open->run(q{SELECT encrypt_bytea('x', 'k')}), '58000!', 'bytea');
is($open->run(q{SELECT create_key('none')}), '58000!', 'no key is made');
is($open->run(q{SELECT count(*) FROM envcrypt.key FULL JOIN envcrypt.key_version v ON v.key = name
	WHERE name = 'none' OR v.key = 'none'}), '0', 'and nothing of one');
is($open->run(q{DO $$ DECLARE e enc_bytea; BEGIN
		BEGIN
			e := encrypt('x', 'k');
		EXCEPTION WHEN OTHERS THEN
			PERFORM set_config('test.state', SQLSTATE, false);
		END;
		IF e IS NOT NULL THEN
			RAISE 'a value';
		END IF;
		e := encrypt('x', 'k');
	END $$}), '58000!', 'caught, there is no value, and the next try fails too');
is($open->run("SELECT decrypt('$value')"), 'sealed before', 'what is sealed opens');
is($open->run(q{SELECT encrypt('x', 's') = encrypt('x', 's')}), 't', 'deterministic keys need none');
is(steps($running, nonces($one)), 1, 'a draw made before goes on counting in its transaction');
$s->run('COMMIT');
is($s->run($one), '58000!', 'and is not used beyond it');

unlink $flag or die;
like($open->run(q{SELECT encrypt('x', 'k')}), qr/^\\xec01/, 'with random bytes again, it heals without a new connection');
all_apart('with draws of its own', nonces("$one; $one"));
is($open->run(q{SELECT create_key('none'); SELECT decrypt(encrypt('x', 'none'))}) =~ s/\n//gr, 'x', 'and keys are made');

$_->quit foreach ($s, $open);
$node->stop;
done_testing();
