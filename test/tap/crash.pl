# kill -9 of a backend or of the postmaster while keys are made: a key is there
# whole or not at all, and every acknowledged row can be read.

use strict;
use warnings FATAL => 'all';

use EnvcryptTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $random_seconds = $ENV{ENVCRYPT_CRASH_SECONDS} // 10;
my $dir = PostgreSQL::Test::Utils::tempdir;

# Streaming settings, so that a commit can be made to wait for a standby.
my $node = new_cluster('crash', init => { allows_streaming => 1 }, conf => <<'CONF');
restart_after_crash = on
autovacuum = off
wal_writer_delay = 10s
synchronous_standby_names = ''
CONF
sql($node, q{
	CREATE ROLE maker LOGIN;
	GRANT EXECUTE ON FUNCTION create_key TO maker;
	CREATE TABLE vals (k text, v enc_bytea);
	GRANT SELECT, INSERT ON vals TO maker;
	SELECT create_key('common');
	SELECT grant_key('common', 'maker');

	CREATE FUNCTION stop_here() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF current_setting('test.stop', true) = TG_ARGV[0] THEN
			PERFORM pg_sleep(120);
		END IF;
		RETURN NEW;
	END $$;
	CREATE CONSTRAINT TRIGGER stop_at_commit AFTER INSERT ON envcrypt.audit_log DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION stop_here('commit');
});

# Every place where create_key can be stopped: around each of its writes.
my @steps;
foreach my $table (qw(key key_version key_wrap key_grant audit_log))
{
	foreach my $when (qw(BEFORE AFTER))
	{
		sql($node, "CREATE TRIGGER a_stop_$when $when INSERT ON envcrypt.$table
			FOR EACH ROW EXECUTE FUNCTION stop_here('$when $table')");
		push @steps, "$when $table";
	}
}
push @steps, 'commit', 'flushed';

# ---- clients, whose output is kept in files

sub start_client
{
	my ($name, $script) = @_;

	append_to_file("$dir/$name.sql", $script);
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	open STDOUT, '>', "$dir/$name.out" or die;
	open STDERR, '>', "$dir/$name.err" or die;
	exec 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-U', 'maker', '-f', "$dir/$name.sql";
}

sub wait_for_clients { waitpid $_, 0 foreach @_; return; }

# ---- the two ways to die

sub kill_backend
{
	my ($pid) = @_;
	my $offset = -s $node->logfile;

	kill 'KILL', $pid or die "no process $pid";
	$node->wait_for_log(qr/reinitializing.*ready to accept connections/s, $offset);
	return;
}

# A process that is dead and not reaped yet does not count.
sub alive { return defined readlink "/proc/$_[0]/exe"; }

# In a container nobody may reap the postmaster for seconds, and as long as its
# number is taken a server refuses to start over its lock files.
sub kill_postmaster
{
	my $lock_file = $node->data_dir . '/postmaster.pid';
	my @all = split /\n/, sql($node, 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');

	push @all, (split /\n/, slurp_file($lock_file))[0];
	$node->kill9;
	for (my $i = 0; $i < 1000 && (grep { alive($_) } @all); $i++)
	{
		sleep 0.02;
	}
	unlink $lock_file, $node->host . '/.s.PGSQL.' . $node->port . '.lock' unless grep { alive($_) } @all;
	$node->start;
	return;
}

# ---- what must be true after each

sub check_keys
{
	my ($name) = @_;
	# tables as they are, whatever a view would hide
	my $broken = sql($node, q{
		SET enable_nestloop = off;
		SELECT 'versions of ' || name FROM envcrypt.key
		LEFT JOIN (SELECT key, count(*) FROM envcrypt.key_version WHERE state = 'primary' GROUP BY key) v ON key = name
			WHERE v.count IS DISTINCT FROM 1
		UNION ALL SELECT 'no wrap of ' || key FROM envcrypt.key_version LEFT JOIN envcrypt.key_wrap w USING (kvid)
			WHERE w.kvid IS NULL
		UNION ALL SELECT 'version without key ' || v.key FROM envcrypt.key_version v LEFT JOIN envcrypt.key k ON k.name = v.key
			WHERE k.name IS NULL
		UNION ALL SELECT 'wrap without version ' || w.kvid::text FROM envcrypt.key_wrap w LEFT JOIN envcrypt.key_version v USING (kvid)
			WHERE v.kvid IS NULL
		UNION ALL SELECT 'grants of ' || name FROM envcrypt.key LEFT JOIN envcrypt.key_grant ON key = name
			WHERE created_by = 'maker' AND key IS NULL
		UNION ALL SELECT 'audit of ' || name FROM envcrypt.key
		LEFT JOIN (SELECT key, count(*) FROM envcrypt.audit_log WHERE action = 'create_key' GROUP BY key) a ON key = name
			WHERE a.count IS DISTINCT FROM 1
		UNION ALL SELECT 'cannot use ' || name FROM envcrypt.key
			WHERE decrypt(encrypt('probe', name)) IS DISTINCT FROM 'probe'
		UNION ALL SELECT 'wrong value of ' || k FROM vals WHERE decrypt(v) IS DISTINCT FROM k});

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($broken, '', $name);
}

# ---- at every step of create_key

# A commit that waits for a standby that never comes is on disk, and not yet
# acknowledged.  create_key raises synchronous_commit, or it would not wait.
sub hold_commits
{
	my ($standby) = @_;

	$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "'$standby'");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = '$standby'")
		or die 'setting did not take';
	# the checkpointer tells the others, and has done so when it has done this
	sql($node, 'CHECKPOINT');
	return;
}

# The processes of that many sessions, once there are so many.
sub wait_for_pids
{
	my ($count, $condition) = @_;
	my @pids;

	for (my $until = time + 30; time < $until && @pids < $count;)
	{
		sleep 0.02;
		@pids = split /\n/, sql($node, "SELECT pid FROM pg_stat_activity WHERE $condition");
	}
	@pids >= $count or die "no $count sessions with $condition";
	return @pids;
}

sub stop_at
{
	my ($step, $key) = @_;
	my $event = $step eq 'flushed' ? 'SyncRep' : 'PgSleep';

	hold_commits('nobody') if $step eq 'flushed';
	my $client = start_client("client_$key", "SET synchronous_commit = local; SET test.stop = '$step';
		SELECT create_key('$key');\n\\echo acknowledged\n");
	my ($pid) = wait_for_pids(1, "wait_event = '$event'");
	# read when the server comes up again
	$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "''") if $step eq 'flushed';
	return ($client, $pid);
}

my $n = 0;
foreach my $step (@steps)
{
	foreach my $victim ('backend', 'postmaster')
	{
		my $key = 'step_' . $n++;
		my ($client, $pid) = stop_at($step, $key);
		my $there = $step eq 'flushed' ? 1 : 0;

		$victim eq 'backend' ? kill_backend($pid) : kill_postmaster();
		wait_for_clients($client);
		hold_commits('') if $step eq 'flushed';
		is(slurp_file("$dir/client_$key.out") . sql($node, "SELECT count(*) FROM envcrypt.keys WHERE name = '$key'"),
			$there, "$victim killed, $step: " . ($there ? 'the key is there' : 'there is no key'));
		my $use = "INSERT INTO vals VALUES ('$key', encrypt('$key', '$key'))";
		is(sqlstate($node, "SELECT create_key('$key'); $use", user => 'maker'), $there ? '42710' : '00000',
			"$victim killed, $step: and its name is " . ($there ? 'taken' : 'free'));
		sql($node, $use, user => 'maker') if $there;
	}
}
check_keys('every key is whole and seals');

# ---- at any moment, with writers

my %styles = (
	single => q{SELECT create_key('%1$s'); INSERT INTO vals VALUES ('%1$s', encrypt('%1$s', '%1$s'));},
	block => q{BEGIN; SELECT create_key('%1$s'); INSERT INTO vals VALUES ('%1$s', encrypt('%1$s', '%1$s')); COMMIT;},
	common => q{INSERT INTO vals VALUES ('%1$s', encrypt('%1$s', 'common'));},
	# rows may be lost, as asked; what is left must be readable
	async => q{SELECT create_key('%1$s'); INSERT INTO vals VALUES ('%1$s', encrypt('%1$s', '%1$s'));});

# More than any writer gets done before the server dies.
sub writer_script
{
	my ($round, $style) = @_;
	my $ack = $style eq 'async' ? 'key' : 'row';

	return ($style eq 'async' ? "SET synchronous_commit = off;\n" : '') . join '',
		map { sprintf("$styles{$style}\n\\echo $ack %1\$s\n", "r${round}_${style}_$_") } 1 .. 20000;
}

sub acknowledged
{
	my ($ack, @files) = @_;
	return map { slurp_file($_) =~ /^$ack (\S+)$/mg } @files;
}

sub missing
{
	my ($query, @names) = @_;
	my $list = join ',', map { "'$_'" } @names;

	return sql($node, "SELECT count(*) FROM (SELECT unnest(ARRAY[$list]::text[]) EXCEPT $query) x");
}

my ($rounds, $rows, $keys) = (0, 0, 0);
my $end = time + $random_seconds;
while (time < $end)
{
	# alone, lest others flush what is theirs
	my @styles = $rounds % 3 == 1 ? 'async' : sort keys %styles;
	my @names = map { "r${rounds}_$_" } @styles;
	my @clients = map { start_client("r${rounds}_$_", writer_script($rounds, $_)) } @styles;

	# who connects after the crash would not notice it
	wait_for_pids(scalar(@clients), q{usename = 'maker'});
	sleep rand 0.8;
	my @backends = wait_for_pids(1, q{usename = 'maker'});
	$rounds % 2 ? kill_postmaster() : kill_backend($backends[ rand @backends ]);
	wait_for_clients(@clients);

	my @rows = acknowledged('row', map { "$dir/$_.out" } @names);
	my @keys = acknowledged('key', map { "$dir/$_.out" } @names);
	my $lost = missing('SELECT k FROM vals', @rows) . ' ' . missing('SELECT name FROM envcrypt.keys', @keys);
	is($lost, '0 0', "round $rounds: nothing acknowledged is missing") if $lost ne '0 0' || !$rounds;
	my $errors = join '', map { slurp_file("$dir/$_.err") } @names;
	unlike($errors, qr/ERROR:/, "round $rounds: writers met nothing but the crash") if $errors =~ /ERROR:/;
	$rounds++;
	$rows += @rows;
	$keys += @keys;
}
check_keys("after $rounds crashes every key is whole and every row is read");
cmp_ok($rounds, '>=', 2, "$rounds rounds");
cmp_ok($rows, '>', 20 * $rounds, "$rows acknowledged rows were checked");
cmp_ok($keys, '>', 10 * $rounds, "$keys keys acknowledged under synchronous_commit = off");

$node->stop;
done_testing();
