# Keys and transactions: a value never outlives its key, a key that is being
# made is nobody else's, and what may be written to the key tables and by whom.

use strict;
use warnings FATAL => 'all';

use EnvcryptSession;
use EnvcryptTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $key_file = keygen("$dir/root-keys.json");
keygen($key_file, '--add', '--name', 'second');

my $node = new_cluster('transactions', conf => qq{
	wal_level = replica
	max_wal_senders = 2
	envcrypt.local_key_file = '$key_file'
	max_prepared_transactions = 5
	max_parallel_workers = 8
	wal_writer_delay = 10s
	autovacuum = off
});
sql($node, q{
	CREATE TABLE kept (v enc_bytea);
	CREATE TABLE big AS SELECT n FROM generate_series(1, 20000) n;
	ANALYZE big;
});
my $s = EnvcryptSession->new($node);
my $t = EnvcryptSession->new($node);

sub key_exists { return sql($node, "SELECT count(*) FROM envcrypt.keys WHERE name = '$_[0]'"); }

# ---- rollback: the key goes, and with it what a client read before

my $seen = $s->run(q{BEGIN; SELECT create_key('undone'); SELECT encrypt('x', 'undone')});
$seen =~ s/^\n+//;
like($seen, qr/^\\xec01/, 'a key made in a transaction block seals there');
is($s->run("SELECT decrypt('$seen')"), 'x', 'and opens there');
is($t->run("SELECT decrypt('$seen')"), '42704!', 'nobody else knows it yet');
is($t->run("SELECT encrypt('x', 'undone')"), '42704!', 'by name neither');
$s->run('ROLLBACK');
is($s->run("SELECT decrypt('$seen')"), '42704!', 'after ROLLBACK its value is lost, in the same session');
is($s->run("SELECT encrypt('x', 'undone')"), '42704!', 'and nothing more is sealed with it');
is($s->run("SELECT count(*) FROM envcrypt.audit_log WHERE key = 'undone'"), '0', 'nor was it ever audited');
is($s->run("SELECT create_key('undone')"), '', 'the name is free again');
is($s->run("SELECT decrypt('$seen')"), '42704!', 'for a key that is another one');

# ---- savepoints: a variable outlives them, so nothing is sealed before COMMIT

is($s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('sub1'); SELECT encrypt('x', 'sub1')}),
	'55000!', 'a key made in a savepoint does not seal');
like($s->error, qr/HINT:  Commit first\./, 'the hint says what to do');
$s->run('ROLLBACK');
is($s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('sub2'); RELEASE a; SELECT encrypt('x', 'sub2')}),
	'55000!', 'nor once the savepoint is released');
$s->run('ROLLBACK');
is($s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('sub3'); RELEASE a; COMMIT; SELECT decrypt(encrypt('x', 'sub3'))}) =~ s/\n//gr,
	'x', 'after COMMIT it does');
is($s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('sub4'); ROLLBACK TO a; SELECT encrypt('x', 'sub4')}),
	'42704!', 'after ROLLBACK TO there is no such key');
$s->run('ROLLBACK');
is($s->run(q{BEGIN; SELECT create_key('top1'); SAVEPOINT a; SELECT encrypt('x', 'top1'); ROLLBACK TO a;
		INSERT INTO kept VALUES (encrypt('top1', 'top1')); COMMIT}) =~ s/^(\n|\\xec.*)*$//mgr,
	'', 'a key made before the savepoint seals in it and after its rollback');
is($s->run('SELECT decrypt(v) FROM kept'), 'top1', 'and the value is there');

is($s->run(q{BEGIN; SELECT create_key('top2'); DO $$ BEGIN PERFORM encrypt('x', 'top2'); END $$; ROLLBACK}) =~ s/\n//gr,
	'', 'and in a DO block');
# A PL/pgSQL EXCEPTION block is a savepoint whose rollback keeps variables.
my $carry = q{
	DO $$
	DECLARE
		e enc_bytea;
		state text := 'none';
	BEGIN
		BEGIN
			PERFORM create_key('carried');
			e := encrypt('x', 'carried');
			RAISE EXCEPTION 'undo';
		EXCEPTION WHEN OTHERS THEN
			state := SQLSTATE;
		END;
		INSERT INTO kept VALUES (e);
		PERFORM set_config('test.state', state, false);
	END $$};
foreach my $how ([ '', '' ], [ 'BEGIN;', '; COMMIT' ])
{
	sql($node, 'TRUNCATE kept');
	$s->run("$how->[0] $carry $how->[1]");
	is($s->run(q{SELECT current_setting('test.state') || ' ' || count(v) FROM kept}), '55000 0',
		"no variable carries a value past a block's rollback" . ($how->[0] && ' (in a transaction block)'));
}
is($s->run(q{DO $$ BEGIN PERFORM create_key('exc'); EXCEPTION WHEN OTHERS THEN NULL; END $$}), '',
	'a key may be made in an EXCEPTION block');
is($s->run(q{SELECT decrypt(encrypt('x', 'exc'))}), 'x', 'and is used after its commit');

# ---- DO and procedures: outside a block they could end the transaction

is($s->run(q{DO $$ BEGIN PERFORM create_key('do1'); PERFORM encrypt('x', 'do1'); END $$}),
	'55000!', 'a DO outside a block does not seal with its own key');
is(key_exists('do1'), '0', 'and its failure takes the key along');
is($s->run(q{
	DO $$
	DECLARE
		e enc_bytea;
	BEGIN
		PERFORM create_key('do2');
		COMMIT;
		e := encrypt('do2', 'do2');
		ROLLBACK;
		TRUNCATE kept;
		INSERT INTO kept VALUES (e);
	END $$}), '', 'after a COMMIT inside it does');
is($s->run('SELECT decrypt(v) FROM kept'), 'do2', 'and the value outlives a later ROLLBACK');
is($s->run(q{BEGIN; DO $$ BEGIN PERFORM create_key('do3'); PERFORM encrypt('x', 'do3'); END $$; COMMIT}),
	'', 'a DO inside a block cannot end it and seals');
sql($node, q{
	CREATE PROCEDURE make_and_seal(k text, commit_between bool) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM create_key(k);
		IF commit_between THEN
			COMMIT;
		END IF;
		INSERT INTO kept VALUES (encrypt(k, k));
	END $$});
is($s->run(q{CALL make_and_seal('proc1', false)}), '55000!', 'a procedure likewise');
is($s->run(q{CALL make_and_seal('proc2', true)}), '', 'and after its COMMIT');
is($s->run(q{SELECT create_key('one'), encrypt('x', 'one')}), '55000!', 'one statement outside a block does not either');

# ---- parallel workers take their leader's answer

my $parallel = q{SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0;
	SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2;
	SET LOCAL parallel_leader_participation = off;};
# each process draws a prefix of its own, which tells how many there were
my $sealers = q{SELECT count(DISTINCT p) FROM
	(SELECT substring(encrypt(n::text, '%s')::bytea FROM 13 FOR 12) AS p FROM big) b};
is($s->run("BEGIN; SELECT create_key('par1'); $parallel " . sprintf($sealers, 'par1')) =~ s/\n//gr, '2',
	'a key made in the running block seals in two parallel workers');
$s->run('COMMIT');
is($s->run("BEGIN; SAVEPOINT a; SELECT create_key('par2'); RELEASE a; $parallel " . sprintf($sealers, 'par2')),
	'55000!', 'one made in a savepoint does not');
$s->run('ROLLBACK');
my $in_do = sprintf($sealers, 'par3') =~ s/^SELECT/PERFORM/r;
is($s->run("DO \$\$ BEGIN PERFORM create_key('par3'); $parallel $in_do; END \$\$"),
	'55000!', 'nor one made in a DO outside a block, where workers are in a block of their own');
is($s->run("DO \$\$ BEGIN PERFORM create_key('par4'); COMMIT; $parallel $in_do; END \$\$" =~ s/par3/par4/gr),
	'', 'with a COMMIT between it does');
is($s->run('SHOW envcrypt.own_key_usable'), 'off', 'and the answer ends with its transaction');

# ---- PREPARE TRANSACTION

is($s->run(q{BEGIN; SELECT create_key('prep1'); PREPARE TRANSACTION 'p1'}), '55000!',
	'PREPARE TRANSACTION after making a key is refused');
is($s->run('ROLLBACK'), '', 'which has ended the transaction');
is(key_exists('prep1'), '0', 'without the key');
is($s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('prep2'); RELEASE a; PREPARE TRANSACTION 'p2'}), '55000!',
	'also when a released savepoint made it');
$s->run('ROLLBACK');
is($s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('prep3'); ROLLBACK TO a; PREPARE TRANSACTION 'p3'}) =~ s/\n//gr,
	'', 'and allowed when the savepoint that made it is gone');
is($t->run(q{ROLLBACK PREPARED 'p3'}), '', 'the prepared transaction is there');
is($s->run(q{BEGIN; SELECT create_key('prep4'); SAVEPOINT a; SELECT create_key('prep5'); ROLLBACK TO a;
		PREPARE TRANSACTION 'p4'}), '55000!', 'refused while an outer one is left');
$s->run('ROLLBACK');
is($s->run(q{BEGIN; INSERT INTO kept VALUES (encrypt('prepared', 'exc')); PREPARE TRANSACTION 'p5'}), '',
	'a transaction that only seals can be prepared');
is($t->run(q{COMMIT PREPARED 'p5'; SELECT count(*) FROM kept WHERE decrypt(v) = 'prepared'}), '1', 'and committed');

# ---- two sessions, one name

$s->run(q{BEGIN; SELECT create_key('race1')});
$t->start(q{SELECT create_key('race1')});
ok($t->wait_until_waiting, 'a second create_key of a name waits for the first');
$s->run('COMMIT');
is($t->finish, '42710!', 'and finds it taken after COMMIT');
$s->run(q{BEGIN; SELECT create_key('race2')});
$t->start(q{SELECT create_key('race2')});
$t->wait_until_waiting;
$s->run('ROLLBACK');
unlike($t->finish, qr/!/, 'or makes it itself after ROLLBACK');
is($s->run(q{SELECT decrypt(encrypt('x', 'race2'))}), 'x', 'for everybody');
$s->run(q{BEGIN; SELECT create_key('race3')});
is($t->run(q{SET lock_timeout = '5s'; SELECT create_key('race4'); SELECT encrypt('x', 'exc') IS NULL}) =~ s/\n//gr,
	'f', 'other names and sealing do not wait');
$s->run('COMMIT');

# ---- isolation levels: keys are read as they are now, not as the snapshot has them

foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $k = lc($level =~ s/ .*//r);

	$s->run("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM kept");
	$t->run("SELECT create_key('$k')");
	is($s->run("SELECT decrypt(encrypt('x', '$k'))"), 'x', "$level: a key made after the snapshot is used");
	is($s->run("SELECT create_key('$k')"), '42710!', "$level: and its name is taken");
	$s->run('ROLLBACK');
	$s->run("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM kept");
	$t->run("SELECT disable_key('$k')");
	is($s->run("SELECT encrypt('x', '$k')"), '55000!', "$level: a key disabled after the snapshot is disabled");
	$s->run("ROLLBACK; BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM kept");
	$t->run("SELECT enable_key('$k')");
	is($s->run("SELECT disable_key('$k'); COMMIT") =~ s/\n//gr, '', "$level: a change builds on the rows of now");
	is($t->run("SELECT encrypt('x', '$k')"), '55000!', "$level: and holds");
}
sql($node, q{CREATE ROLE late LOGIN});
$s->run('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$t->run(q{SELECT grant_key('exc', 'late')});
$s->run(q{SELECT revoke_key('exc', 'late'); COMMIT});
is(sqlstate($node, q{SELECT encrypt('x', 'exc')}, user => 'late'), '42501',
	'a REPEATABLE READ session takes back a grant that is younger than its snapshot');

# ---- a key's commit is on disk before it is acknowledged

sub flushed
{
	my ($sql) = @_;
	my $before = $s->run("BEGIN; $sql; SELECT pg_current_wal_insert_lsn()") =~ s/\n//gr;
	$s->run('COMMIT');
	return $s->run("SELECT pg_current_wal_flush_lsn() > '$before'::pg_lsn");
}

$s->run('SET synchronous_commit = off');
is(scalar(grep { flushed("SELECT create_key('sync$_')") eq 't' } 1 .. 3), 3,
	'create_key under synchronous_commit = off is flushed at COMMIT');
ok(scalar(grep { flushed('INSERT INTO kept VALUES (NULL)') eq 'f' } 1 .. 3),
	'control: an ordinary INSERT is not');
is($s->run(q{BEGIN; SELECT create_key('sync4'); SHOW synchronous_commit}) =~ s/\n//gr, 'on', 'it is raised to on');
$s->run('COMMIT');
is($s->run('SHOW synchronous_commit'), 'off', 'for that transaction');
is($s->run(q{BEGIN; SET LOCAL synchronous_commit = local; SELECT create_key('sync5'); SHOW synchronous_commit}) =~ s/\n//gr,
	'on', 'from local too');
is($s->run(q{ROLLBACK; BEGIN; SET LOCAL synchronous_commit = remote_apply; SELECT create_key('sync5');
		SHOW synchronous_commit}) =~ s/\n//gr, 'remote_apply', 'and never lowered');
$s->run('ROLLBACK; RESET synchronous_commit');

# ---- writes to the key tables that are not ours

my @tables = qw(key key_version key_wrap key_grant audit_log);
sql($node, q{
	CREATE ROLE clerk LOGIN;
	GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON envcrypt.key, envcrypt.key_version, envcrypt.key_wrap,
		envcrypt.key_grant, envcrypt.audit_log TO clerk;
	SELECT grant_key('exc', 'late', '{encrypt}');
});
my $clerk = EnvcryptSession->new($node, user => 'clerk');
foreach my $table (@tables)
{
	my $column = $table eq 'audit_log' || $table eq 'key_version' || $table eq 'key_grant' ? 'key' :
		$table eq 'key' ? 'label' : 'root_key';
	my %writes = (
		UPDATE => "UPDATE envcrypt.$table SET $column = $column",
		DELETE => "DELETE FROM envcrypt.$table",
		TRUNCATE => "TRUNCATE envcrypt.$table");

	is($clerk->run("INSERT INTO envcrypt.$table SELECT * FROM envcrypt.$table LIMIT 1"), '42501!',
		"$table: INSERT by a role with the table's privileges is refused");
	foreach my $role ([ $clerk, 'that role' ], [ $s, 'a superuser' ])
	{
		is($role->[0]->run($writes{$_}), '42501!', "$table: $_ by $role->[1]") foreach sort keys %writes;
	}
	is($s->run("SET session_replication_role = replica; $writes{UPDATE}"), '42501!', "$table: the trigger fires for replicas");
	is($s->run($writes{TRUNCATE}), '42501!', "$table: the one on TRUNCATE too");
	$s->run('RESET session_replication_role');
}
is($s->run(q{INSERT INTO envcrypt.key SELECT 'restored', 'restored', algorithm, root_keys, enabled, created_by, created_at
		FROM envcrypt.key WHERE name = 'exc'}), '', 'a superuser may INSERT: that is what a restore does');
is($s->run(q{INSERT INTO envcrypt.key SELECT * FROM envcrypt.key WHERE name = 'exc'
		ON CONFLICT (name) DO UPDATE SET enabled = false}), '42501!', 'but not turn it into an UPDATE');
is($s->run(q{SELECT encrypt('x', 'restored')}), '55000!', 'a key without versions seals nothing');

# What pg_restore --disable-triggers does leaves the guard as it was.
foreach my $alter ('DISABLE TRIGGER ALL', 'ENABLE TRIGGER ALL', 'DISABLE TRIGGER guard_row', 'ENABLE REPLICA TRIGGER guard_truncate')
{
	is($s->run("ALTER TABLE envcrypt.key_wrap $alter"), '', "$alter is taken");
	is($s->run(q{SELECT string_agg(tgenabled::text, '') FROM pg_trigger
			WHERE tgrelid = 'envcrypt.key_wrap'::regclass AND NOT tgisinternal}), 'AA', 'and the guard stays ENABLE ALWAYS');
	is($s->run('DELETE FROM envcrypt.key_wrap'), '42501!', 'and refuses');
}
is($s->run(q{BEGIN; ALTER TABLE envcrypt.key DISABLE TRIGGER ALL; UPDATE envcrypt.key SET enabled = true}), '42501!',
	'in the same transaction too');
$s->run('ROLLBACK');

# ---- names, labels and algorithms

my $long = 'n' x 128;
is($s->run("SELECT create_key('$long')"), '', 'a name of 128 characters');
is($s->run(q{SELECT create_key('aZ09_.:@/-')}), '', 'every kind of character allowed');
is($s->run("SELECT decrypt(encrypt('x', '$long')) || decrypt(encrypt('y', 'aZ09_.:\@/-'))"), 'xy', 'both seal');
is($s->run("SELECT create_key('${long}n')"), '22023!', '129 characters');
is($s->run("SELECT create_key($_)"), '22023!', "name $_")
	foreach ("''", 'NULL', "'a b'", "'a\"b'", "E'a\\n'", "E'a\\\\b'", "'\x{c3}\x{a9}'", "'a;b'", "'a*'");
is($s->run(q{SELECT create_key('exc')}), '42710!', 'a name that is taken');
is($s->run(q{SELECT create_key('Exc')}), '', 'names differ in case');
is($s->run(q{SELECT create_key('bad', label => 'a b')}), '22023!', 'a label has the same characters');
is($s->run(q{SELECT create_key('labelled', label => 'opaque')}), '', 'and may be another than the name');
is($s->run(q{SELECT label FROM envcrypt.keys WHERE name IN ('labelled', 'exc') ORDER BY name}), "exc\nopaque",
	'the name stands in for it');
is($s->run(q{SELECT decrypt(encrypt('x', 'labelled'))}), 'x', 'it seals');
is($s->run(q{SELECT create_key('bad', 'rot13')}), '22023!', 'an unknown algorithm');
is($s->run(q{SELECT create_key('bad', NULL)}), '22023!', 'none');
is($s->run("SELECT create_key('bad', '$_')"), '0A000!', "$_ is registered and not built")
	foreach ('kc-xaes-256-gcm', 'hmac-sha-256', 'key-wrap');
is($s->run(q{SELECT create_key('siv', 'aes-256-siv'); SELECT encrypt('x', 'siv') = encrypt('x', 'siv')}) =~ s/\n//gr,
	't', 'aes-256-siv is deterministic');

# ---- root keys: any one of a version's wraps opens it

is($s->run(q{SELECT create_key('bad', root_keys => '{aws-eu:alias/x}')}), '22023!', 'an endpoint that is not listed');
is($s->run(q{SELECT create_key('bad', root_keys => '{default}')}), '22023!', 'no endpoint at all');
is($s->run(q{SELECT create_key('bad', root_keys => '{}')}), '22023!', 'no root key');
is($s->run(q{SELECT create_key('bad', root_keys => '{local:default,NULL}')}), '22023!', 'a NULL among them');
is($s->run(q{SELECT create_key('bad', root_keys => '{local:default,local:nosuch}')}), '58000!', 'a local one that the file does not hold');
like($s->error, qr/HINT:  .*envcrypt keygen --add --name/, 'with the command that adds it');
is(key_exists('bad'), '0', 'none of these made a key');
is($s->run(q{SELECT create_key('twice', root_keys => '{local:default,local:second,local:default}');
		SELECT wraps FROM envcrypt.key_versions WHERE key = 'twice'}) =~ s/\n//gr, '2', 'two root keys, two wraps');
my $value = $s->run(q{SELECT encrypt('both', 'twice')});

# The file with one root key only, or with what else is done to it.
sub with_keys
{
	my ($code, $test) = @_;
	my $whole = slurp_file($key_file);
	my $json = decode_json($whole);

	$code->($json->{keys});
	replace_file(encode_json($json));
	$test->();
	replace_file($whole);
	return;
}

sub replace_file
{
	my ($text) = @_;

	unlink $key_file;
	umask 0077;
	append_to_file($key_file, $text);
	return;
}

foreach my $gone ('default', 'second')
{
	with_keys(sub { delete $_[0]->{$gone} },
		sub { is(sql($node, "SELECT decrypt('$value')"), 'both', "it opens without local:$gone"); });
}
with_keys(sub { $_[0]->{other} = delete $_[0]->{default}; delete $_[0]->{second} },
	sub { is(sqlstate($node, "SELECT decrypt('$value')"), '58000', 'and not without both'); });
with_keys(sub { },
	sub { is(sql($node, "SELECT decrypt('$value')"), 'both', 'with both again it does'); });

# A wrap that is damaged, in a database whose rows are a copy of these.
sub copy_with_damage
{
	my ($db, $which) = @_;
	my %columns = (key => '*', key_version => '*',
		key_wrap => "kvid, root_key, CASE WHEN root_key $which THEN set_byte(wrapped, 40, get_byte(wrapped, 40) \# 1)
			ELSE wrapped END, verified_at");
	my %where = (key => "name = 'twice'", key_version => "key = 'twice'",
		key_wrap => "kvid = substring('$value'::enc_bytea::bytea FROM 5 FOR 8)");

	sql($node, "CREATE DATABASE $db");
	EnvcryptTest::install($node, $db);
	foreach my $table (qw(key key_version key_wrap))
	{
		my $rows = sql($node, "COPY (SELECT $columns{$table} FROM envcrypt.$table WHERE $where{$table}) TO STDOUT");
		$node->psql($db, "COPY envcrypt.$table FROM STDIN;\n$rows\n\\.\n", on_error_die => 1);
	}
	return;
}

copy_with_damage('d1', "= 'local:default'");
copy_with_damage('d2', "= 'local:second'");
copy_with_damage('d3', 'IS NOT NULL');
is(sql($node, "SELECT decrypt('$value')", db => 'd1'), 'both', 'it opens with the first wrap damaged');
is(sql($node, "SELECT decrypt('$value')", db => 'd2'), 'both', 'with the second');
is(sqlstate($node, "SELECT decrypt('$value')", db => 'd3'), '58000', 'and not with both');

# ---- who may do what with a key

sql($node, q{
	CREATE ROLE maker LOGIN;
	CREATE ROLE other LOGIN;
	CREATE ROLE team NOLOGIN;
	CREATE ROLE heir LOGIN INHERIT;
	CREATE ROLE loner LOGIN NOINHERIT;
	GRANT team TO heir, loner;
	GRANT EXECUTE ON FUNCTION create_key, grant_key, revoke_key, disable_key, enable_key TO maker, other;
});
my $maker = EnvcryptSession->new($node, user => 'maker');
my $other = EnvcryptSession->new($node, user => 'other');
is($clerk->run(q{SELECT create_key('c')}), '42501!', 'create_key takes EXECUTE');
is($maker->run(q{SELECT create_key('mine')}), '', 'a role with EXECUTE makes a key');
is($maker->run(q{SELECT privileges FROM envcrypt.grants WHERE key = 'mine'}) =~ s/[{}]//gr, 'encrypt,decrypt,manage',
	'and has encrypt, decrypt and manage') or note $maker->error;
my $mine = $maker->run(q{SELECT encrypt('m', 'mine')});
is($maker->run("SELECT decrypt('$mine')"), 'm', 'it seals and opens');
is($s->run("SELECT decrypt('$mine')"), 'm', 'so does a superuser');
is($other->run(q{SELECT encrypt('m', 'mine')}), '42501!', 'another role does not seal');
is($other->run("SELECT decrypt('$mine')"), '42501!', 'nor open');
is($other->run("SELECT $_"), '42501!', "nor $_")
	foreach (q{grant_key('mine', 'other')}, q{revoke_key('mine', 'maker')}, q{disable_key('mine')}, q{enable_key('mine')});
is($other->run(q{SELECT count(*) FROM envcrypt.keys WHERE name = 'mine'}), '0', 'nor see it');

# sees(ROLE, expected outcomes of encrypt and decrypt)
sub may
{
	my ($role, $want, $name) = @_;
	my $got = join ' ', map { sqlstate($node, $_, user => $role) }
		(q{SELECT encrypt('x', 'mine')}, "SELECT decrypt('$mine')");
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($got, $want, $name);
}

my ($no, $both) = ('42501 42501', '00000 00000');
$maker->run(q{SELECT grant_key('mine', 'other', '{encrypt}')});
may('other', '00000 42501', 'encrypt was granted alone');
$maker->run(q{SELECT grant_key('mine', 'other', '{decrypt}')});
may('other', $both, 'grant_key adds');
$maker->run(q{SELECT revoke_key('mine', 'other', '{encrypt}')});
may('other', '42501 00000', 'revoke_key takes what is named');
$maker->run(q{SELECT grant_key('mine', 'other')});
may('other', $both, 'encrypt and decrypt are the default');
$maker->run(q{SELECT revoke_key('mine', 'other')});
may('other', $no, 'revoke_key without privileges takes all');
is($maker->run(q{SELECT count(*) FROM envcrypt.grants WHERE grantee = 'other'}), '0', 'and leaves no row');
is($maker->run("SELECT grant_key('mine', $_->[0])"), "$_->[1]!", "grant_key to $_->[0] is $_->[1]")
	foreach ([ q{'nosuch'}, '42704' ], [ 'NULL', '22023' ], [ q{'other', '{}'}, '22023' ],
	[ q{'other', NULL}, '22023' ], [ q{'other', '{select}'}, '22023' ], [ q{'other', '{decrypt,NULL}'}, '22023' ]);
is($maker->run(q{SELECT grant_key('nokey', 'other')}), '42704!', 'an unknown key');
is($maker->run(q{SELECT revoke_key('mine', 'nosuch')}), '42704!', 'revoke_key of a role that is not there');

$maker->run(q{SELECT grant_key('mine', 'public', '{decrypt}')});
may('other', '42501 00000', 'public is everybody');
$maker->run(q{SELECT revoke_key('mine', 'public')});
may('other', $no, 'until revoked');

$maker->run(q{SELECT grant_key('mine', 'team')});
may('heir', $both, 'a member that inherits has what its group has');
may('loner', $no, 'one that does not inherit has not');
is(sql($node, "SET ROLE team; SELECT decrypt('$mine')", user => 'loner'), 'm', 'but has as the group');
sql($node, 'REVOKE team FROM heir');
may('heir', $no, 'a member no longer');

# A grant counts while a role has both its name and its OID.
sub active { return sql($node, q{SELECT active FROM envcrypt.grants WHERE grantee = 'other'}); }
$maker->run(q{SELECT grant_key('mine', 'other')});
sql($node, 'ALTER ROLE other RENAME TO moved');
is(active(), 'f', 'a renamed role: the grant is listed as inactive');
may('moved', $no, 'and gives it nothing');
sql($node, 'CREATE ROLE other LOGIN');
may('other', $no, 'nor to another one that takes the name');
sql($node, 'DROP ROLE other; ALTER ROLE moved RENAME TO other');
is(active(), 't', 'with its name back it is active');
may('other', $both, 'and counts');
$other->quit;
sql($node, 'DROP OWNED BY other; DROP ROLE other; CREATE ROLE other LOGIN');
is(active(), 'f', 'a role dropped and made again: inactive');
may('other', $no, 'and gives it nothing');
$maker->run(q{SELECT grant_key('mine', 'other')});
may('other', $both, 'until it is granted again');
$maker->run(q{SELECT revoke_key('mine', 'other')});
is(active(), '', 'revoke_key clears away both rows');

$_->quit foreach ($s, $t, $maker, $clerk);

# A plan that holds a value folded into it, by a function that wrongly claims
# to be immutable, is made again when the key's transaction rolls back; kept,
# it would store a value that nothing opens.
{
	my $s = EnvcryptSession->new($node);

	sql($node, q{CREATE TABLE folded (v enc_bytea);
		CREATE FUNCTION folds() RETURNS enc_bytea LANGUAGE plpgsql IMMUTABLE AS
			$$BEGIN RETURN encrypt('folded', 'fold'); END$$});
	$s->run('PREPARE q AS INSERT INTO folded SELECT folds()');
	$s->run(q{BEGIN; SELECT create_key('fold')});
	is($s->run('EXECUTE q'), '', 'a value is folded into a plan while its key is there');
	$s->run('ROLLBACK');
	is($s->run('EXECUTE q'), '42704!', 'after the rollback the plan is made again');
	$s->run(q{BEGIN; SAVEPOINT a; SELECT create_key('fold'); ROLLBACK TO a});
	is($s->run('EXECUTE q'), '42704!', 'after ROLLBACK TO as well');
	$s->run('ROLLBACK');
	is(sql($node, 'SELECT count(*) FROM folded'), '0', 'nothing unreadable was stored');
	$s->quit;
}

# synchronous_commit, lowered again after create_key raised it, is on at COMMIT:
# a standby that does not answer holds the commit up.
{
	my $s = EnvcryptSession->new($node);

	$s->run(q{BEGIN; SELECT create_key('lowered'); SET LOCAL synchronous_commit = off});
	is($s->run('SHOW synchronous_commit'), 'off', 'a transaction may lower it again');
	sql($node, q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
	$node->reload;
	ok($node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'}), 'a standby is waited for');
	$s->start('COMMIT');
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'}),
		'the commit of a key waits for it all the same');
	$node->safe_psql('postgres', q{SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names});
	$node->reload;
	$s->finish;
	is($s->run('SELECT count(*) FROM keys WHERE name = \'lowered\''), '1', 'and goes through when nobody is waited for');
	$s->quit;
}

$node->stop;

done_testing();
