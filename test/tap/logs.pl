# No error of ours writes a value, a key argument or a context to the server
# log under the server's own settings; what an extension cannot hide is shown
# to be there.  Also the rows of the error table that need files, a standby or
# a gigabyte.
use strict;
use warnings FATAL => 'all';

use File::Copy;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $keys = keygen("$dir/keys.json");

# What Cluster.pm changes about logging, as the server has it.
my $default_logging = join "\n", "log_statement = none", "log_replication_commands = off",
	"log_min_messages = warning", "log_min_error_statement = error", "log_error_verbosity = default",
	"client_min_messages = notice", "log_parameter_max_length_on_error = 0", "debug_print_parse = off";

my $node = new_cluster('logs', init => { allows_streaming => 1 },
	conf => "$default_logging\nenvcrypt.local_key_file = '$keys'\n");

sql($node, q{
	SELECT create_key('log-pii'), create_key('log-det', 'aes-256-siv'), create_key('log-off');
	CREATE ROLE nobody LOGIN;
	CREATE SCHEMA helper;
	CREATE FUNCTION helper.envelope(suite text, flags text, kvid bytea, body int) RETURNS enc_bytea LANGUAGE sql STABLE
		AS $$ SELECT (decode('ec' || suite || flags || '00', 'hex') || kvid || decode(repeat('00', body), 'hex'))::enc_bytea $$;
	CREATE FUNCTION helper.raw(bytea) RETURNS enc_bytea LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
	CREATE TABLE t (v enc_bytea, b enc_bytea, d enc_bytea(deterministic), off enc_bytea, n int);
	INSERT INTO t VALUES (encrypt('v', 'log-pii'), encrypt_bound('v', 'log-pii', 'c'), encrypt('v', 'log-det'), encrypt('v', 'log-off'), 1);
	CREATE TABLE staging (id int, plain text, sealed enc_bytea);
	CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON staging FOR EACH ROW
		EXECUTE FUNCTION encrypt_trigger('plain', 'sealed', 'log-none', 'id');
	CREATE FUNCTION seal(v text) RETURNS enc_bytea LANGUAGE plpgsql AS $$ BEGIN RETURN encrypt(v || 'CANARY', 'log-none'); END $$;
	CREATE FUNCTION seal_dynamic(v text) RETURNS enc_bytea LANGUAGE plpgsql AS $$
		DECLARE r enc_bytea; BEGIN EXECUTE format('SELECT encrypt(%L, %L)', v, 'log-none') INTO r; RETURN r; END $$;
	CREATE FUNCTION seal_sql(v text) RETURNS enc_bytea LANGUAGE sql AS $$ SELECT encrypt(v || 'CANARY', 'log-none') FROM pg_class LIMIT 1 $$;
	CREATE FUNCTION lies(enc_bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN envcrypt.decrypt($1) || 'CANARY'; END $$;
	SELECT disable_key('log-off');
	SET search_path = public, envcrypt, helper;
	ALTER DATABASE postgres SET search_path = public, envcrypt, helper;
});

# ---- run statements in one session; each must fail with its SQLSTATE.
# Returns what went to the log meanwhile and what the client saw.
sub provoke
{
	my ($n, $what, $cases, %o) = @_;
	my $offset = -s $n->logfile;
	my ($script, $err, $i) = ('', '', 0);

	# the data of a COPY ends its own line
	$script .= "\\warn == $_\n$cases->[$_][1]" . ($cases->[$_][1] =~ /\n\z/ ? '' : ";\n") for 0 .. $#$cases;
	$n->psql('postgres', "\\set VERBOSITY verbose\n$script", stderr => \$err, stdout => \my $out,
		on_error_stop => 0, extra_params => [ $o{user} ? ('-U', $o{user}) : () ]);
	my %got = $err =~ /^== (\d+)\n(.*?)(?=^== |\z)/msg;
	for my $case (@$cases)
	{
		my ($state) = ($got{ $i++ } // '') =~ /ERROR:  ([0-9A-Z]{5}):/;
		(my $name = substr $case->[1], 0, 90) =~ s/\s+/ /g;
		is($state // 'none', $case->[0], "$what: $case->[0] $name");
	}
	my $log = slurp_log($n, $offset);
	my $errors = () = $log =~ /(?:ERROR|FATAL):  /g;
	cmp_ok($errors, '>=', scalar @$cases, "$what: each error is in the log");
	return ($log, $err);
}

my $forced = $node->can('pg_version') && $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';
my @cases = (
	[ '22P03', q{SELECT 'CANARY'::enc_bytea} ],
	[ '22P03', q{SELECT '\xec01CANARY'::enc_bytea} ],
	[ '22P03', q{INSERT INTO t (v) VALUES ('CANARY')} ],
	[ '22P03', q{SELECT convert_to('CANARY', 'UTF8')::enc_bytea} ],
	[ '22P03', q{UPDATE t SET v = 'CANARY' WHERE n = 1} ],
	[ '22P03', q{SELECT decrypt(raw('CANARY'))} ],
	[ '22P03', q{SELECT * FROM jsonb_to_record('{"v": "CANARY"}') AS x(v enc_bytea)} ],
	[ '22P03', qq{COPY t (v, n) FROM STDIN;\nCANARY\t1\n\\.\n} ],
	[ '22P03', qq{COPY t (v, n) FROM STDIN WITH (FORMAT csv);\n"CANARY, more",1\n\\.\n} ],
	[ '22000', q{SELECT decrypt(b, 'CANARY') FROM t} ],
	[ '22000', q{SELECT decrypt(set_byte(v::bytea, 52, get_byte(v::bytea, 52) # 1)::enc_bytea) = 'CANARY' FROM t} ],
	[ '22000', q{SELECT decrypt(envelope('03', '00', (SELECT kvid FROM key_versions WHERE key = 'log-pii'), 16)) = 'CANARY'} ],
	[ '22023', q{SELECT encrypt('CANARY', NULL)} ],
	[ '22023', q{SELECT encrypt_bound('CANARY', 'log-pii', '')} ],
	[ '22023', q{SELECT decrypt(v, 'CANARY') FROM t} ],
	[ '22023', q{SELECT decrypt(b) = 'CANARY' FROM t} ],
	[ '22023', q{SELECT decrypt_as(encrypt('CANARY', 'log-pii'), NULL::date)} ],
	[ '22023', q{SELECT decrypt_as(encrypt_bound('[CANARY', 'log-pii', 'CANARY'), NULL::jsonb, 'CANARY')} ],
	[ '22023', q{SELECT encrypt('CANARY'::bytea, 'log-pii')} ],
	[ '22023', q{SELECT search_terms('CANARY', 'log-pii')} ],
	[ '22023', q{SELECT enc_context('CANARY', NULL)} ],
	[ '22023', q{INSERT INTO t (d) VALUES (encrypt('CANARY', 'log-pii'))} ],
	[ '22023', q{SELECT create_key('CANARY name')} ],
	[ '22023', q{SELECT create_key('x', 'CANARY')} ],
	[ '22023', q{SELECT create_key('x', root_keys => '{CANARY:x}')} ],
	[ '22023', q{SELECT create_key('x', label => 'CANARY label')} ],
	[ '22023', q{SELECT grant_key('log-pii', 'public', '{CANARY}')} ],
	[ '22023', q{SELECT has_key_privilege('log-pii', 'CANARY')} ],
	[ '42704', q{SELECT encrypt('CANARY', 'log-none')} ],
	[ '42704', q{SELECT encrypt('log-pii', 'CANARY value')} ],
	[ '42704', q{SELECT search_terms('CANARY', 'CANARY key')} ],
	# swapped: the value could be a key's name
	[ '42704', q{SELECT encrypt('log-pii', 'CANARY@example.org')} ],
	[ '42704', q{SELECT encrypt_bound('log-pii', 'CANARY@example.org', 'CANARY')} ],
	[ '42704', q{SELECT encrypt_bytea('log-pii', 'CANARY@example.org')} ],
	[ '42704', q{SELECT search_terms('log-det', 'CANARY@example.org')} ],
	[ '42704', q{SELECT decrypt(envelope('01', '01', '\x0102030405060708', 40), 'CANARY')} ],
	[ '42710', q{SELECT create_key('log-pii', label => 'CANARY')} ],
	[ '42501', q{UPDATE envcrypt.key SET label = 'CANARY'} ],
	[ '42501', q{DELETE FROM envcrypt.key WHERE name <> 'CANARY'} ],
	[ '55000', q{SELECT decrypt(off) = 'CANARY' FROM t} ],
	[ '55000', q{SELECT encrypt('CANARY', 'log-off')} ],
	[ '55000', q{DO $$ BEGIN PERFORM create_key('log-x'); PERFORM encrypt('CANARY', 'log-x'); END $$} ],
	[ '55000', q{CREATE MATERIALIZED VIEW m AS SELECT decrypt(v) = 'CANARY' FROM t} ],
	[ '55000', q{CREATE INDEX ON t (lies(v)) WHERE n <> length('CANARY')} ],
	[ '0A000', q{SELECT decrypt(envelope('02', '00', '\x0102030405060708', 72)) = 'CANARY'} ],
	[ '0A000', q{SELECT * FROM t WHERE v = encrypt('CANARY', 'log-pii')} ],
	[ '0A000', q{CREATE UNIQUE INDEX ON t (v) WHERE n <> length('CANARY')} ],
	[ '22021', q{SELECT decrypt(encrypt_bytea('CANARY\377', 'log-pii'))} ],
	# how statements reach us: functions, dynamic SQL, cursors, prepared, triggers, COPY TO
	[ '42704', q{SELECT seal('CANARY')} ],
	[ '42704', q{SELECT seal_dynamic('CANARY')} ],
	[ '42704', q{SELECT seal_sql('CANARY')} ],
	[ '42704', q{DO $$ BEGIN PERFORM encrypt('CANARY', 'log-none'); EXCEPTION WHEN OTHERS THEN RAISE; END $$} ],
	[ '42704', q{INSERT INTO staging VALUES (1, 'CANARY')} ],
	[ '42704', qq{COPY staging (id, plain) FROM STDIN;\n1\tCANARY\n\\.\n} ],
	[ '42704', q{PREPARE p AS SELECT encrypt($1, $2); EXECUTE p('CANARY', 'log-none')} ],
	[ '42704', q{COPY (SELECT encrypt('CANARY', 'log-none')) TO STDOUT} ],
	[ '42704', q{CREATE TABLE x AS SELECT encrypt('CANARY', 'log-none')} ],
	[ '22000', q{BEGIN; DECLARE c CURSOR FOR SELECT decrypt(b, 'CANARY') FROM t; FETCH c; COMMIT} ],
	# from parallel workers the leader raises the error again
	[ '42704', qq{SET $forced = on; SELECT encrypt('CANARY', 'log-none')} ],
	[ '22000', q{SELECT decrypt(b, 'CANARY') FROM t} ],
	[ '22023', q{SELECT decrypt_as(encrypt('CANARY', 'log-pii'), NULL::date)} ],
	[ '42704', qq{SELECT seal_sql('CANARY'); RESET $forced} ]);

my ($log, $client) = provoke($node, 'default logging', \@cases);
unlike($log, qr/canary/i, 'no canary in the log');
unlike($client, qr/CANARY\@example\.org" does not exist/, 'nor is a swapped value in our message to the client');
like($client, qr/COPY t, line 1, column v: "CANARY"/, 'the client of COPY is shown the column by COPY itself');
unlike($log, qr/CONTEXT:|STATEMENT:/, 'neither context nor statement in the log') or diag($log);

my @denied = (
	[ '42501', q{SELECT encrypt('CANARY', 'log-pii')} ],
	[ '42501', q{SELECT encrypt_bound('CANARY', 'log-pii', 'CANARY')} ],
	[ '42501', q{SELECT search_terms('CANARY', 'log-det')} ]);
($log) = provoke($node, 'no grant', \@denied, user => 'nobody');
unlike($log, qr/canary/i, 'no canary in the log');

# ---- the control, and what no extension can hide
sub leaks
{
	my ($sql, $what, $pattern) = @_;
	my $offset = -s $node->logfile;
	sql_error($node, $sql);
	like(slurp_log($node, $offset), $pattern // qr/STATEMENT:.*CANARY/, $what);
}
leaks(q{SELECT 1/0 WHERE 'CANARY' <> ''}, 'control: an error of the server brings its statement to the log');
leaks(q{SELECT encrypt('CANARY', 'k', 'aes')}, 'a call that is no function of ours is the parser\'s error');
leaks(q{SELECT decrypt(encrypt('CANARY', 'log-pii'))::int}, 'a cast of an opened value shows it; decrypt_as() does not',
	qr/invalid input syntax for type integer: "CANARY"/);
leaks(q{INSERT INTO staging VALUES (1, 'CANARY', NULL, 2)}, 'a statement that is wrong before it reaches us');
leaks(qq{COPY staging (plain, id) FROM STDIN;\nCANARY\n\\.\n}, 'COPY prints the line when a column is missing',
	qr/CONTEXT:  COPY staging, line 1: .*CANARY/);
leaks(q{ALTER TABLE staging DISABLE TRIGGER seal; ALTER TABLE staging ADD CHECK (plain IS NULL);
	INSERT INTO staging VALUES (1, 'CANARY')}, 'a constraint prints the row', qr/Failing row contains \(1, CANARY/);
leaks(q{SELECT encrypt('no-key', 'CANARY@example.org')}, 'what stands in the place of the key is echoed when it could be a name and the value is no key\'s',
	qr/key "CANARY\@example.org" does not exist/);
leaks(q{SET log_statement = 'all'; SELECT encrypt('CANARY', 'log-pii')}, 'log_statement', qr/LOG:  statement: .*CANARY/);

# ---- 58000: the key file
my $sealed = sql($node, q{SELECT encrypt('still here', 'log-pii')});

# In a new session: one that holds the key goes on with it.
sub unavailable
{
	my ($name, $detail, $hint) = @_;
	my @calls = ("decrypt('$sealed') = 'CANARY'", "encrypt('CANARY', 'log-pii')", "try_decrypt('$sealed') = 'CANARY'",
		"search_terms('CANARY', 'log-det')", "create_key('log-unmade', label => 'CANARY')");
	my ($log, $client) = provoke($node, $name, [ map { [ '58000', "SELECT $_" ] } @calls ]);

	is(scalar(() = $client =~ /$detail/g), scalar @calls, "$name: says what each time") or diag($client);
	is(scalar(() = $client =~ /^HINT:.*$hint/mg), scalar @calls, "$name: says what to do each time") or diag($client);
	unlike($log, qr/canary/i, "$name: no canary in the log");
	return;
}

sub heals
{
	my ($name) = @_;
	is(sql($node, "SELECT decrypt('$sealed')"), 'still here', "$name: opens again, nothing restarted");
	return;
}

my $unsafe = qr/mode 0600/;
my $wrong = qr/not the one this key was made with|Restore the copy of the key file that holds it/;

rename $keys, "$keys.away" or die;
unavailable('missing file', qr/(?:ERROR:  58000|DETAIL): +key file \Q$keys\E does not exist/,
	qr/as the server's user: envcrypt keygen \Q$keys\E\. Otherwise restore its copy/);
my ($out, $err) = ('', '');
$node->psql('postgres', "SELECT decrypt('$sealed');\n\\! mv $keys.away $keys\nSELECT decrypt('$sealed');",
	on_error_stop => 0, stdout => \$out, stderr => \$err);
like($err, qr/is unavailable/, 'missing file: a session fails');
is($out, 'still here', 'missing file: and goes on when the file is back');
$node->psql('postgres', "SELECT decrypt('$sealed');\n\\! mv $keys $keys.away\nSELECT decrypt('$sealed');",
	on_error_stop => 0, stdout => \$out);
is($out, "still here\nstill here", 'a session that holds the key does without the file');
rename "$keys.away", $keys or die;
heals('missing file');

chmod 0644, $keys;
unavailable('readable by others', qr/keys\.json/, $unsafe);
chmod 0600, $keys;
heals('readable by others');

mkdir "$dir/open" or die;
move($keys, "$dir/open/keys.json");
symlink "$dir/open/keys.json", $keys or die;
chmod 0777, "$dir/open";
unavailable('in a directory that others write to', qr/open/, $unsafe);
chmod 0700, "$dir/open";
heals('a link to a safe place');
unlink $keys;
move("$dir/open/keys.json", $keys);

move($keys, "$keys.away");
mkdir $keys;
unavailable('a directory', qr/not a regular file/, $unsafe);
rmdir $keys;
for my $case ([ 'empty file', '' ], [ 'not JSON', 'CANARY' ], [ 'another format', '{"format":"CANARY","version":1}' ])
{
	open my $fh, '>', $keys or die;
	print $fh $case->[1];
	close $fh;
	chmod 0600, $keys;
	unavailable($case->[0], qr/keys\.json/, qr/keygen --verify/);
}
unlink $keys;
keygen($keys, '--name', 'other');
unavailable('without the root key', qr/local:default/, $wrong);
unlink $keys;
keygen($keys);
for my $sql ("SELECT decrypt('$sealed')", "SELECT encrypt('v', 'log-pii')")
{
	like(fails_with($node, '58000', $sql, 'another server\'s file: 58000'), $wrong, 'another server\'s file: says so');
}
unlink $keys;
move("$keys.away", $keys);
heals('the right file again');

copy($keys, $node->data_dir . '/keys.json');
chmod 0600, $node->data_dir . '/keys.json';
$node->append_conf('postgresql.conf', "envcrypt.local_key_file = '" . $node->data_dir . "/keys.json'");
$node->reload;
unavailable('inside the data directory', qr/keys\.json/, qr/outside the data directory/);
$node->append_conf('postgresql.conf', "envcrypt.local_key_file = '$keys'");
$node->reload;
heals('inside the data directory');
unlink $node->data_dir . '/keys.json';

# ---- 54000: over 1 GB
SKIP:
{
	my ($free) = slurp_file('/proc/meminfo') =~ /^MemAvailable:\s+(\d+) kB/m;
	skip 'less than 4 GB of memory', 3 if ($free // 0) < 4_000_000;
	($log) = provoke($node, '1 GB', [
		[ '54000', q{SELECT encrypt(repeat('CANARY', 178956965), 'log-pii')} ],
		[ '54000', q{SELECT encrypt(repeat('CANARY', 178956966), 'log-det')} ] ]);
	unlike($log, qr/canary/i, '1 GB: no canary in the log');
}

# ---- 25006: a standby opens and searches, and seals nothing randomized
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('logs_standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
($log) = provoke($standby, 'standby', [
	[ '25006', q{SELECT encrypt('CANARY', 'log-pii')} ],
	[ '25006', q{SELECT encrypt_bound('CANARY', 'log-pii', 'CANARY')} ],
	[ '25006', q{SELECT create_key('log-standby', label => 'CANARY')} ] ]);
like($log, qr/STATEMENT:  SELECT create_key/, 'standby: create_key() is refused by the server itself');
$log =~ s/STATEMENT:  SELECT create_key.*//;
unlike($log, qr/canary/i, 'standby: no canary in the log otherwise');
is(sql($standby, "SELECT decrypt('$sealed'), (SELECT count(*) FROM t WHERE d = ANY (search_terms('v', 'log-det'))), encrypt('v', 'log-det') = d FROM t"),
	'still here|1|t', 'standby: opens, searches, seals deterministically');
$standby->stop;

# ---- what is ours to hide, and what is not
# Only errors of envcrypt's own files go without their statement: nobody hides
# his own by borrowing the schema's name.
{
	my $from = -s $node->logfile;

	sql($node, 'CREATE ROLE nobody_special LOGIN');
	fails_with($node, 'P0001', q{SELECT decrypt(NULL);
		DO $$BEGIN RAISE EXCEPTION 'x' USING SCHEMA = 'envcrypt'; END$$ -- SPOOFED}, 'an error with our schema name', user => 'nobody_special');
	like(slurp_log($node, $from), qr/STATEMENT: .*SPOOFED/s, 'is logged with its statement');
}

# Where the key file lies is for those who may read the setting.
{
	my $from = -s $node->logfile;

	sql($node, q{SELECT grant_key('log-pii', 'nobody_special')});
	rename $keys, "$keys.away" or die $!;
	my $err = fails_with($node, '58000', "SELECT decrypt('$sealed')", 'no key file', user => 'nobody_special');
	unlike($err, qr/\Q$dir\E/, 'an ordinary role does not learn where it should be');
	like(slurp_log($node, $from), qr/\Q$keys\E does not exist/, 'the log says');
	sql($node, 'GRANT pg_read_all_settings TO nobody_special');
	like(sql_error($node, "SELECT decrypt('$sealed')", user => 'nobody_special'), qr/\Q$keys\E/, 'who may read the setting learns it');
	rename "$keys.away", $keys or die $!;
}

# A tablespace that cannot be reached is no reason to open nothing.
{
	mkdir "$dir/away" and mkdir "$dir/away/space" or die $!;
	sql($node, "CREATE TABLESPACE away LOCATION '$dir/away/space'");
	chmod 0000, "$dir/away" or die $!;
	is(sql($node, "SELECT decrypt('$sealed')"), 'still here', 'an unreachable tablespace does not stand in the way');
	chmod 0700, "$dir/away" or die $!;
	sql($node, 'DROP TABLESPACE away');
}

$node->stop;

# ---- the table in docs/sql-reference.md: each of its SQLSTATEs is in a test
my ($table) = slurp_file('docs/sql-reference.md') =~ /^## Errors\n(.*?)(?=^## )/ms;
my @states = ($table // '') =~ /^\| `([0-9A-Z]{5})` \|/mg;
cmp_ok(scalar @states, '>=', 15, 'docs/sql-reference.md has its table of errors');
my $tests = join '', map { slurp_file($_) } glob('expected/*.out'), glob('test/tap/*.pl');
my %seen;
for my $state (grep { !$seen{$_}++ } @states)
{
	like($tests, qr/\b$state\b/, "$state of docs/sql-reference.md is in a test");
}

done_testing();
