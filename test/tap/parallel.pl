# Parallel query: a million rows opened by workers and the leader are the same
# as opened by one process, and every statement of sql/functions.sql does in
# workers what it does without.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

my $node = new_cluster('parallel', conf => join "\n",
	'shared_buffers = 256MB', 'max_connections = 20', 'max_worker_processes = 8', 'max_parallel_workers = 4',
	'max_wal_size = 2GB', 'log_statement = none', 'jit = off', 'autovacuum = off', '');
my $forced = $node->can('pg_version') && $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';

my $parallel = q{
	SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
	SET min_parallel_table_scan_size = 0;};
my $serial = 'SET max_parallel_workers_per_gather = 0;';

# ---- a million rows
sql($node, q{
	SELECT create_key('par'), create_key('par-det', 'aes-256-siv');
	CREATE ROLE reader; GRANT USAGE ON SCHEMA public TO reader;
	CREATE UNLOGGED TABLE big AS SELECT n, encrypt(n::text, 'par') v, n % 1000 AS g FROM generate_series(1, 1000000) n;
	CREATE UNLOGGED TABLE det AS SELECT n, encrypt((n % 1000)::text, 'par-det') v FROM generate_series(1, 20000) n;
	GRANT SELECT ON big, det TO reader;
	SELECT grant_key('par', 'reader', '{decrypt}');
	ANALYZE big; ANALYZE det;
});

sub same
{
	my ($query, $name) = @_;
	my $plan = sql($node, "$parallel EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $query");

	like($plan, qr/Workers Launched: [12]/, "$name: workers are at work") or diag($plan);
	is(sql($node, "$parallel $query"), sql($node, "$serial $query"), "$name: the same in parallel");
	return;
}

is(sql($node, 'SELECT sum(decrypt(v)::bigint), count(*), bool_and(decrypt(v) = n::text) FROM big'),
	'500000500000|1000000|t', 'a million rows open');
same('SELECT sum(decrypt(v)::bigint), count(*) FROM big', 'sum over a million');
same(q{SELECT g, max(decrypt(v)) FROM big WHERE decrypt(v) LIKE '%77' GROUP BY g ORDER BY g}, 'filter and group');
same(q{SELECT count(*), sum(a.n + b.n) FROM det a JOIN det b USING (v) WHERE a.n <= 5000}, 'join on searchable values');
same(q{SELECT decrypt(v), count(*) FROM det GROUP BY v ORDER BY 1}, 'group by searchable values');
same(q{SELECT count(*) FROM det WHERE v = ANY (search_terms('77', 'par-det'))}, 'search terms');
same(q{SELECT sum(decrypt_as(v, NULL::int)) FROM big WHERE n % 10 = 0}, 'typed');
same(q{SELECT count((enc_info(v)).key), count(DISTINCT (enc_info(v)).state) FROM det}, 'enc_info');

# sealed by workers: the same values, no nonce twice
my $plan = sql($node, "$parallel EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
	CREATE UNLOGGED TABLE sealed AS SELECT n, encrypt(decrypt(v), 'par') v FROM big WHERE n % 5 = 0");
like($plan, qr/Workers Launched: [12]/, 'workers seal');
is(sql($node, 'SELECT count(*), count(DISTINCT substr(v::bytea, 13, 24)), bool_and(decrypt(v) = n::text) FROM sealed'),
	'200000|200000|t', 'what workers sealed opens, each under a nonce of its own');

# the effective role is known to workers, and so is a key of this transaction
is(sql($node, "SET ROLE reader; $parallel SELECT sum(decrypt(v)::bigint) FROM big"), '500000500000', 'a grant holds in workers');
fails_with($node, '42501', "SET ROLE reader; $parallel SELECT count(decrypt(v)) FROM det", 'no grant, no value in workers');
sql($node, q{SELECT revoke_key('par', 'reader')});
fails_with($node, '42501', "SET ROLE reader; $parallel SELECT sum(decrypt(v)::bigint) FROM big", 'a grant taken back is gone in workers');
is(sql($node, "BEGIN; SELECT create_key('par-own'); SET LOCAL $forced = on; SELECT decrypt(encrypt('own', 'par-own')); COMMIT"),
	"\nown", 'a key of this transaction seals in workers');
fails_with($node, '55000', "BEGIN; SAVEPOINT s; SELECT create_key('par-sub'); SET LOCAL $forced = on; SELECT encrypt('own', 'par-sub'); COMMIT",
	'a key of a subtransaction does not');

# ---- sql/functions.sql, alone and in workers
sub functions_under
{
	my ($mode) = @_;
	my ($out, $err) = ('', '');

	$node->safe_psql('postgres', "CREATE DATABASE fn_$mode TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
	local $ENV{PGOPTIONS} = "-c $forced=$mode -c search_path=public";
	local $ENV{PGCLIENTENCODING} = 'UTF8';
	IPC::Run::run([ 'psql', '-X', '-a', '-q', '-d', $node->connstr("fn_$mode"), '-f', 'sql/functions.sql' ],
		'>', \$out, '2>&1');
	return $out;
}

my $off = functions_under('off');
my $regress = functions_under('regress');
my $on = functions_under('on');
my $from_workers = () = $on =~ /^CONTEXT:  parallel worker$/mg;

cmp_ok(length $off, '>', 20000, 'sql/functions.sql ran');
cmp_ok($from_workers, '>=', 30, "errors were raised in workers ($from_workers)");
$on =~ s/^CONTEXT:  parallel worker\n//mg;
is($regress, $off, "sql/functions.sql prints the same under $forced = regress");
is($on, $off, "sql/functions.sql prints the same under $forced = on, but for the context of errors");

$node->stop;
done_testing();
