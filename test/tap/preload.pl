# With shared_preload_libraries the library is loaded once, by the postmaster;
# everything does what it does without.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use EnvcryptSession;
use EnvcryptTest;

my $node = new_cluster('preload', conf => "shared_preload_libraries = 'envcrypt'\nrestart_after_crash = on\n");

is(sql($node, 'SHOW shared_preload_libraries'), 'envcrypt', 'the library is preloaded');
sql($node, q{SELECT create_key('pii'), create_key('det', 'aes-256-siv')});
my $value = sql($node, q{SELECT encrypt('hello', 'pii')});
is(sql($node, "SELECT decrypt('$value')"), 'hello', 'a value opens in another session');
is(sql($node, q{SELECT encrypt('x', 'det') = ANY (search_terms('x', 'det'))}), 't', 'and is found');

# Settings are there before anything is called, with their contexts.
is(sql($node, q{SELECT string_agg(name || ' ' || context, ',' ORDER BY name) FROM pg_settings WHERE name LIKE 'envcrypt.%'}),
	'envcrypt.allow_destroy superuser,envcrypt.allow_maintenance_decrypt superuser,'
	. 'envcrypt.default_root_keys sighup,envcrypt.local_key_file sighup', 'settings');
fails_with($node, '55000', 'DROP EXTENSION envcrypt', 'the drop guard');

# A key made in the transaction, used by parallel workers, which have the
# library from the postmaster and their leader's answer from its settings.
is(sql($node, q{
	CREATE TABLE n AS SELECT generate_series(1, 20000) i; ANALYZE n;
	BEGIN;
	SELECT create_key('mine');
	SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;
	SET LOCAL parallel_leader_participation = off;
	SELECT count(*) FROM (SELECT encrypt(i::text, 'mine') FROM n OFFSET 0) s;
	COMMIT}), "\n20000", 'workers seal with a key of their own transaction');

# A reload moves the key file under open sessions' feet.
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $other = keygen("$dir/other.json");
my $was = sql($node, 'SHOW envcrypt.local_key_file');
$node->append_conf('postgresql.conf', "envcrypt.local_key_file = '$other'");
$node->reload;
ok($node->poll_query_until('postgres', "SELECT current_setting('envcrypt.local_key_file') = '$other'"), 'reloaded');
fails_with($node, '58000', "SELECT decrypt('$value')", 'the other file does not open it');
$node->append_conf('postgresql.conf', "envcrypt.local_key_file = '$was'");
$node->reload;
ok($node->poll_query_until('postgres', "SELECT current_setting('envcrypt.local_key_file') = '$was'"), 'reloaded again');
is(sql($node, "SELECT decrypt('$value')"), 'hello', 'the right one does');

# A crash restart loads nothing twice.
my $victim = $node->background_psql('postgres', on_error_stop => 0);
kill 'KILL', scalar $victim->query('SELECT pg_backend_pid()');
for (1 .. 100)
{
	last if slurp_log($node) =~ /reinitializing/;
	usleep(100_000);
}
like(slurp_log($node), qr/reinitializing/, 'the server restarts after a crash');
ok($node->poll_query_until('postgres', "SELECT decrypt('$value') = 'hello'"), 'and opens values');

done_testing();
