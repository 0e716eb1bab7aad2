# What one session takes away, every other open session has lost at its next
# value: a grant, an enabled key, a membership.

use strict;
use warnings FATAL => 'all';

use EnvcryptSession;
use EnvcryptTest;
use Test::More;
use Time::HiRes qw(time);

# How long a running query may go on; it goes on for well under a second.
my $limit_ms = 5000;

my $node = new_cluster('revoke', conf => 'autovacuum = off');
sql($node, q{
	CREATE ROLE app LOGIN;
	CREATE ROLE team;
	CREATE ROLE member LOGIN;
	SELECT create_key('k'), create_key('team_key');
	SELECT create_key('s', 'aes-256-siv');
	SELECT grant_key('k', 'app'), grant_key('s', 'app'), grant_key('team_key', 'team');
	CREATE TABLE t AS SELECT n, encrypt(n::text, 'k') AS v FROM generate_series(1, 2000) n;
	CREATE TABLE tt AS SELECT encrypt('x', 'team_key') AS v;
	GRANT SELECT, INSERT ON t, tt TO app, team, member;
	ANALYZE t;
});
my $admin = EnvcryptSession->new($node);

# How each thing is taken and given back, what it does to whom, and the
# SQLSTATE that follows.
my @ways = (
	{   name => 'revoke_key', user => 'app', key => 'k', table => 't', state => '42501',
		take => q{SELECT revoke_key('k', 'app')}, give => q{SELECT grant_key('k', 'app')} },
	{   name => 'disable_key', user => 'app', key => 'k', table => 't', state => '55000',
		take => q{SELECT disable_key('k')}, give => q{SELECT enable_key('k')} },
	{   name => 'REVOKE of a membership', user => 'member', key => 'team_key', table => 'tt', state => '42501',
		take => 'REVOKE team FROM member', give => 'GRANT team TO member' },
	{   name => 'a role renamed', user => 'member', key => 'team_key', table => 'tt', state => '42501',
		take => 'ALTER ROLE team RENAME TO crew', give => 'ALTER ROLE crew RENAME TO team' },
	{   name => 'SUPERUSER taken away', user => 'boss', key => 'k', table => 't', state => '42501',
		take => 'ALTER ROLE boss NOSUPERUSER', give => 'ALTER ROLE boss SUPERUSER' },
	{   name => 'the database given to another', user => 'dba', key => 'dba_key', table => 'td', state => '42501',
		take => 'ALTER DATABASE postgres OWNER TO CURRENT_USER', give => 'ALTER DATABASE postgres OWNER TO dba' });
sql($node, q{
	GRANT team TO member;
	CREATE ROLE boss SUPERUSER LOGIN;
	CREATE ROLE dba LOGIN;
	SELECT create_key('dba_key');
	SELECT grant_key('dba_key', 'pg_database_owner');
	CREATE TABLE td AS SELECT encrypt('x', 'dba_key') AS v;
	GRANT SELECT ON t, tt, td TO PUBLIC;
	ALTER DATABASE postgres OWNER TO dba;
});

# ---- idle, in a transaction, prepared, in a cursor

# $before has used the key; after take the same must fail, after give work.
sub check_next_statement
{
	my ($w, $where, $begin, $read) = @_;
	my $s = EnvcryptSession->new($node, user => $w->{user});

	$s->run($begin) if $begin;
	isnt($s->run($read), "$w->{state}!", "$w->{name}, $where: before");
	$s->run('SAVEPOINT a') if $begin =~ /BEGIN/;
	$admin->run($w->{take});
	is($s->run($read), "$w->{state}!", "$w->{name}, $where: the next statement fails");
	$s->run('ROLLBACK TO a') if $begin =~ /BEGIN/;
	is($s->run("SELECT encrypt('x', '$w->{key}')"), "$w->{state}!", "$w->{name}, $where: encrypt too");
	$s->run('ROLLBACK TO a') if $begin =~ /BEGIN/;
	$admin->run($w->{give});
	unlike($s->run($read), qr/!$/, "$w->{name}, $where: given back, without a new connection");
	$s->quit;
	return;
}

foreach my $w (@ways)
{
	my $read = "SELECT decrypt(v) FROM $w->{table} LIMIT 1";

	check_next_statement($w, 'idle session', '', $read);
	check_next_statement($w, $_, "BEGIN ISOLATION LEVEL $_", $read) foreach ('READ COMMITTED', 'REPEATABLE READ');
}
foreach my $w (@ways[0 .. 2])
{
	my $table = $w->{table};

	check_next_statement($w, 'prepared statement',
		"PREPARE p AS SELECT decrypt(v) FROM $table LIMIT 1; SET plan_cache_mode = force_generic_plan", 'EXECUTE p');
	check_next_statement($w, 'PL/pgSQL function',
		"CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT decrypt(v) FROM $table LIMIT 1); END'",
		'SELECT pg_temp.f()');
	check_next_statement($w, 'try_decrypt', '', "SELECT try_decrypt(v) FROM $table LIMIT 1");
}
check_next_statement({ %{ $ways[0] }, key => 's', take => q{SELECT revoke_key('s', 'app')}, give => q{SELECT grant_key('s', 'app')} },
	'search_terms', '', q{SELECT cardinality(search_terms('x', 's'))});

foreach my $w (@ways[0 .. 1])
{
	my $s = EnvcryptSession->new($node, user => 'app');

	is($s->run('BEGIN; DECLARE c CURSOR FOR SELECT decrypt(v) FROM t; FETCH 1 FROM c'), '1', "$w->{name}: FETCH");
	$admin->run($w->{take});
	is($s->run('FETCH 1 FROM c'), "$w->{state}!", "$w->{name}: the next FETCH fails");
	$admin->run($w->{give});
	$s->quit;
}

# ---- inside a statement that is running

# Start it, wait until it runs, take, and see it end.
sub check_running
{
	my ($w, $what, $sql) = @_;
	my $s = EnvcryptSession->new($node, user => 'app');

	$s->run("SET statement_timeout = '30s'; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
		SET min_parallel_table_scan_size = 0");
	$s->start($sql);
	$node->poll_query_until('postgres', 'SELECT state = \'active\' AND clock_timestamp() > query_start + interval \'0.2 s\'
		FROM pg_stat_activity WHERE pid = ' . $s->pid);
	$admin->run($w->{take});
	my $since = time;
	my $state = $s->finish;
	my $ms = int(1000 * (time - $since));
	is($state, "$w->{state}!", "$w->{name} stops $what");
	cmp_ok($ms, '<', $limit_ms, "within $limit_ms ms") and diag("$w->{name} stopped $what after $ms ms");
	$admin->run($w->{give});
	$s->quit;
	return;
}

my $loop = q{DO $$ DECLARE e enc_bytea := (SELECT v FROM t LIMIT 1); BEGIN LOOP PERFORM %s; END LOOP; END $$};
my $long = q{SELECT sum(length(decrypt(v))) FROM t, generate_series(1, 1000000)};
foreach my $w (@ways[0 .. 1])
{
	check_running($w, 'a PL/pgSQL loop of decrypt', sprintf($loop, 'decrypt(e)'));
	check_running($w, 'a PL/pgSQL loop of encrypt', sprintf($loop, q{encrypt('x', 'k')}));
	check_running($w, 'a long SELECT', "SET max_parallel_workers_per_gather = 0; $long");
	check_running($w, 'a parallel SELECT', "SET max_parallel_workers_per_gather = 2; $long");
}
check_running($ways[0], 'a loop in a REPEATABLE READ transaction',
	'BEGIN ISOLATION LEVEL REPEATABLE READ; ' . sprintf($loop, 'decrypt(e)'));

# ---- what has not been committed changes nothing

my $s = EnvcryptSession->new($node, user => 'app');
my $read = 'SELECT decrypt(v) FROM t LIMIT 1';
foreach my $w (@ways[0 .. 1])
{
	$admin->run("BEGIN; $w->{take}");
	is($s->run("SET lock_timeout = '2s'; $read"), '1', "$w->{name}, not committed: goes on, without waiting");
	$admin->run('ROLLBACK');
	is($s->run($read), '1', "$w->{name}, rolled back: goes on");
	is($admin->run("BEGIN; SAVEPOINT a; $w->{take}; SET LOCAL ROLE app; $read") =~ s/\n//gr, "$w->{state}!",
		"$w->{name} holds at once in the session that did it");
	is($admin->run("ROLLBACK TO a; SET LOCAL ROLE app; $read"), '1', "$w->{name}: and ROLLBACK TO undoes it there");
	$admin->run('ROLLBACK');
	is($s->run($read), '1', "$w->{name}: and nowhere else was it seen");
}
is($admin->run(q{DO $$ BEGIN
		BEGIN
			PERFORM disable_key('k');
			PERFORM encrypt('x', 'k');
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			PERFORM encrypt('x', 'k');
		END;
	END $$}), '', 'a caught error takes disable_key back');
is($admin->run(q{SELECT disable_key('k'); SELECT disable_key('k'); SELECT enable_key('k'); SELECT enable_key('k')}) =~ s/\n//gr,
	'', 'an emergency stop may come twice');

# ---- whose rights count: those of the effective user

sql($node, q{
	CREATE ROLE reader LOGIN;
	GRANT reader TO app;
	CREATE FUNCTION open_for_all(e enc_bytea) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT envcrypt.decrypt(e)';
	CREATE FUNCTION open_plpgsql(e enc_bytea) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN envcrypt.decrypt(e); END';
	ALTER FUNCTION open_for_all OWNER TO app;
	ALTER FUNCTION open_plpgsql OWNER TO app;
	CREATE VIEW as_owner AS SELECT decrypt(v) AS p FROM t;
	ALTER VIEW as_owner OWNER TO app;
	CREATE VIEW as_superuser AS SELECT decrypt(v) AS p FROM t;
	CREATE VIEW through_function AS SELECT open_for_all(v) AS p FROM t;
	GRANT SELECT ON as_owner, as_superuser, through_function TO reader;
});
my $r = EnvcryptSession->new($node, user => 'reader');
is($s->run('SELECT p FROM as_owner LIMIT 1'), '1', 'app reads through its view');
is($r->run('SELECT p FROM as_owner LIMIT 1'), '42501!', 'a view does not pass its owner\'s rights on');
is($r->run('SELECT p FROM as_superuser LIMIT 1'), '42501!', 'nor a superuser\'s');
is($r->run("SELECT $_(v) FROM t LIMIT 1"), '1', "a SECURITY DEFINER function does ($_)") foreach ('open_for_all', 'open_plpgsql');
is($r->run('SELECT p FROM through_function LIMIT 1'), '1', 'a view over one too');
is($r->run($read), '42501!', 'and afterwards the caller has its own again');
is($s->run("SET ROLE reader; $read"), '42501!', 'SET ROLE lays rights down');
is($s->run("RESET ROLE; $read"), '1', 'RESET ROLE takes them up');
is($admin->run($read), '1', 'a superuser passes');
is($admin->run("SET ROLE reader; $read"), '42501!', 'but not as another role');
is($admin->run("SET ROLE app; $read"), '1', 'as one with the grant it does');
$admin->run('RESET ROLE');
is($admin->run("SET SESSION AUTHORIZATION reader; $read"), '42501!', 'SET SESSION AUTHORIZATION likewise');
$admin->run('RESET SESSION AUTHORIZATION');
$admin->run(q{SELECT revoke_key('k', 'app')});
is($r->run('SELECT open_for_all(v) FROM t LIMIT 1'), '42501!', 'the function loses what its owner loses');
$admin->run(q{SELECT grant_key('k', 'app')});

# ---- one role and the other by turns within one statement, many times

is($s->run(q{SELECT count(*) FILTER (WHERE p = n::text) FROM (SELECT n, open_for_all(v) AS p FROM t) x}), '2000',
	'the cached verdict is one role\'s');
is($r->run(q{SELECT open_for_all(v), decrypt(v) FROM t LIMIT 1}), '42501!', 'and is not lent to the caller');

$_->quit foreach ($s, $r, $admin);
$node->stop;
done_testing();
