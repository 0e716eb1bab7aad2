# replication.pl: a streaming standby, and a subscriber of logical replication.

use strict;
use warnings FATAL => 'all';

use EnvcryptTest;
use File::Find;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary', init => { allows_streaming => 'logical' });

sql($primary, q{
	CREATE ROLE app LOGIN;
	GRANT USAGE, CREATE ON SCHEMA public TO app;
	SELECT create_key('pii'), create_key('mail', 'aes-256-siv');
	SELECT grant_key('pii', 'app'), grant_key('mail', 'app');
	CREATE TABLE person (id integer PRIMARY KEY, email enc_bytea(deterministic) UNIQUE, note enc_bytea);
	INSERT INTO person SELECT i, encrypt('p' || i, 'mail'), encrypt('note ' || i, 'pii')
		FROM generate_series(1, 20) i;
	GRANT ALL ON person TO app;
});

my $PERSONS = q{SELECT id, email, note, decrypt(email), decrypt(note) FROM person ORDER BY id};

# ---- a standby

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# A base backup holds the key tables and not the key file.
sub base_backup
{
	my ($key_file) = slurp_file($ENV{TEMP_CONFIG}) =~ /local_key_file = '(.+)'/;
	my ($hex) = slurp_file($key_file) =~ /"secret": *"([0-9a-f]{64})"/;
	my %needles = (hex => $hex, raw => pack('H*', $hex), control => 'local:default');
	my %found = map { $_ => 0 } keys %needles;

	find({ no_chdir => 1, wanted => sub {
		return unless -f $_;
		my $content = slurp_file($_);
		$found{$_} += index($content, $needles{$_}) >= 0 foreach keys %needles;
	} }, $primary->backup_dir . '/base');
	ok($found{control} > 0, 'base backup: the name of the root key is found');
	is("$found{hex} $found{raw}", '0 0', 'base backup: its secret is not');
	return;
}

sub standby_reads
{
	$primary->wait_for_catchup($standby);
	values_equal($primary, $standby, $PERSONS, 'standby: decrypt');
	values_equal($primary, $standby, q{SELECT try_decrypt(note) FROM person ORDER BY id}, 'standby: try_decrypt');
	values_equal($primary, $standby, q{SELECT key, version, state, algorithm FROM person, enc_info(note) ORDER BY id},
		'standby: enc_info');
	is(sql($standby, q{SELECT id FROM person WHERE email = ANY (search_terms('p7', 'mail'))}),
		'7', 'standby: search_terms');
	is(sql($standby, q{SELECT id FROM person WHERE email = encrypt('p8', 'mail')}),
		'8', 'standby: deterministic encrypt');
	fails_with($standby, '25006', q{SELECT encrypt('x', 'pii')}, 'standby: randomized encrypt is refused');
	fails_with($standby, '25006', q{SELECT create_key('other')}, 'standby: so is create_key');
	fails_with($standby, '25006', q{SELECT disable_key('pii')}, 'standby: and disable_key');
	return;
}

# The SQLSTATE of a query in a session that is open already.
sub state_in
{
	my ($psql, $query) = @_;
	my $out = $psql->query("$query;\n\\echo :SQLSTATE");
	return $out =~ /([0-9A-Z]{5})$/ ? $1 : $out;
}

sub reads
{
	my ($psql, $column) = @_;
	return state_in($psql, "SELECT decrypt($column) FROM person WHERE id = 7");
}

sub changes_reach_open_session
{
	my $psql = $standby->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
	my @steps = (
		[ q{SELECT revoke_key('pii', 'app')}, '42501 00000', 'a revoke' ],
		[ q{SELECT grant_key('pii', 'app', '{decrypt}')}, '00000 00000', 'a grant' ],
		[ q{SELECT disable_key('mail')}, '00000 55000', 'a disabled key' ],
		[ q{SELECT enable_key('mail')}, '00000 00000', 'an enabled key' ]);

	# all in one transaction, whose snapshot is older than the changes
	$psql->query('BEGIN ISOLATION LEVEL REPEATABLE READ;');
	is(reads($psql, 'note') . ' ' . reads($psql, 'email'), '00000 00000', 'standby: a session reads');
	foreach my $step (@steps)
	{
		my ($change, $expected, $name) = @$step;
		my @got;

		sql($primary, $change);
		$primary->wait_for_catchup($standby);
		foreach my $column ('note', 'email')
		{
			$psql->query('SAVEPOINT s;');
			push @got, reads($psql, $column);
			$psql->query('ROLLBACK TO s;');
		}
		is("@got", $expected, "standby: $name reaches its open transaction");
	}
	$psql->quit;
	return;
}

# A key made after the standby began, and sealing once it is promoted.
sub promotion
{
	sql($primary, q{SELECT create_key('late'); INSERT INTO person (id, note) VALUES (21, encrypt('late', 'late'))});
	$primary->wait_for_catchup($standby);
	my $psql = $standby->background_psql('postgres', on_error_stop => 0);
	is($psql->query(q{SELECT decrypt(note) FROM person WHERE id = 21;}), 'late', 'standby: a key made meanwhile');
	$primary->stop('fast');
	$standby->promote;
	is($psql->query(q{SELECT decrypt(encrypt('after', 'late'));}), 'after', 'promoted: an open session seals');
	sql($standby, q{INSERT INTO person (id, email, note) VALUES (22, encrypt('p22', 'mail'), encrypt('new', 'pii'))});
	is(sql($standby, q{SELECT decrypt(note) FROM person WHERE email = ANY (search_terms('p22', 'mail'))}),
		'new', 'promoted: seals, stores, finds');
	is(sql($standby, q{SELECT create_key('own'); SELECT decrypt(encrypt('x', 'own'))}), "\nx", 'promoted: makes keys');
	$psql->quit;
	return;
}

# ---- a subscriber

my $subscriber = new_cluster('subscriber');
my $publisher_info = $primary->connstr . ' dbname=postgres';

my $TABLES = q{
	CREATE TABLE full_identity (id integer, email enc_bytea(deterministic), note enc_bytea);
	ALTER TABLE full_identity REPLICA IDENTITY FULL;
	CREATE TABLE by_email (email enc_bytea(deterministic) PRIMARY KEY, n integer);
	CREATE TABLE triggered (id integer PRIMARY KEY, plain text, sealed enc_bytea);
	CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON triggered FOR EACH ROW
		EXECUTE FUNCTION encrypt_trigger('plain', 'sealed', 'pii', 'id');
};

sub publish
{
	sql($primary, $TABLES);
	sql($subscriber, q{CREATE ROLE another_oid; CREATE ROLE app LOGIN;
		CREATE TABLE person (id integer PRIMARY KEY, email enc_bytea(deterministic) UNIQUE, note enc_bytea)});
	sql($subscriber, $TABLES);
	sql($primary, q{CREATE PUBLICATION p FOR TABLE person, full_identity, by_email, triggered});
	sql($subscriber, qq{CREATE SUBSCRIPTION s CONNECTION '$publisher_info' PUBLICATION p});
	$subscriber->wait_for_subscription_sync($primary, 's');
	return;
}

# The keys follow by hand: the rows of the key tables, once.
sub keys_arrive
{
	my $file = PostgreSQL::Test::Utils::tempdir() . '/keys.sql';
	my $psql = $subscriber->background_psql('postgres', on_error_stop => 0);

	is(reads($psql, 'note'), '42704', 'subscriber without keys: 42704');
	is(sql($subscriber, 'SELECT count(*) FROM person'), '20', 'subscriber without keys: values arrive all the same');
	is(sql($subscriber, 'SELECT string_agg(try_decrypt(note), NULL) FROM person'), '', 'and try_decrypt gives NULL');
	command_ok([ 'pg_dump', '-d', $publisher_info, '--data-only', '-t', 'envcrypt.*', '-f', $file ], 'keys dumped');
	command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-1', '-d', $subscriber->connstr('postgres'), '-f', $file ],
		'and loaded');
	is($psql->query('SELECT decrypt(note) FROM person WHERE id = 7;'), 'note 7', 'subscriber: the open session reads');
	$psql->quit;
	values_equal($primary, $subscriber, $PERSONS, 'subscriber: every value of the first copy');
	is(sqlstate($subscriber, q{SELECT decrypt(note) FROM person}, user => 'app'), '42501', 'subscriber: grants are inert');
	return;
}

sub changes_replicate
{
	sql($primary, q{
		UPDATE person SET note = encrypt('changed', 'pii') WHERE id = 1;
		UPDATE person SET email = encrypt('moved', 'mail') WHERE id = 2;
		UPDATE person SET note = NULL WHERE id = 3;
		DELETE FROM person WHERE id = 4;
		INSERT INTO person VALUES (30, encrypt('p30', 'mail'), encrypt('', 'pii'));
		INSERT INTO full_identity SELECT i, encrypt('f' || i, 'mail'), encrypt('f' || i, 'pii') FROM generate_series(1, 5) i;
		INSERT INTO full_identity VALUES (6, NULL, NULL);
		INSERT INTO by_email SELECT encrypt('e' || i, 'mail'), i FROM generate_series(1, 5) i;
		INSERT INTO triggered (id, plain) SELECT i, 'plain ' || i FROM generate_series(1, 5) i;
	});
	sql($primary, q{
		UPDATE full_identity SET note = encrypt('f' || id || ' again', 'pii') WHERE id <> 2;
		DELETE FROM full_identity WHERE id = 2;
		UPDATE by_email SET n = 10 WHERE email = encrypt('e1', 'mail');
		UPDATE by_email SET email = encrypt('e20', 'mail') WHERE n = 2;
		DELETE FROM by_email WHERE n = 3;
		UPDATE triggered SET plain = 'plain again' WHERE id = 2;
	});
	$primary->wait_for_catchup('s');
	values_equal($primary, $subscriber, $_->[0], "subscriber: $_->[1]") foreach (
		[ $PERSONS, 'replica identity by primary key' ],
		[ q{SELECT *, decrypt(email), decrypt(note) FROM full_identity ORDER BY id}, 'replica identity full' ],
		[ q{SELECT *, decrypt(email) FROM by_email ORDER BY n}, 'a sealed primary key as replica identity' ],
		[ q{SELECT *, decrypt(sealed, enc_context(id::text)) FROM triggered ORDER BY id}, 'a table with encrypt_trigger' ]);
	is(sql($subscriber, q{SELECT decrypt(note) FROM person WHERE id = 1}), 'changed', 'subscriber: the change came');
	return;
}

# An enabled ALWAYS trigger fires in the apply worker, and must leave what
# arrives as it is: the subscriber may lack the keys to seal with.
sub trigger_on_subscriber
{
	sql($subscriber, q{ALTER TABLE triggered ENABLE ALWAYS TRIGGER seal; SELECT disable_key('pii')});
	sql($primary, q{
		ALTER TABLE triggered DISABLE TRIGGER seal;
		INSERT INTO triggered VALUES (10, 'in clear', NULL);
		ALTER TABLE triggered ENABLE TRIGGER seal;
		INSERT INTO triggered VALUES (11, 'sealed', NULL);
		UPDATE triggered SET id = 12 WHERE id = 11;
	});
	$primary->wait_for_catchup('s');
	sql($subscriber, q{SELECT enable_key('pii')});
	values_equal($primary, $subscriber, q{SELECT * FROM triggered ORDER BY id},
		'subscriber: encrypt_trigger does nothing to replicated rows');
	is(sql($subscriber, q{SELECT plain FROM triggered WHERE id = 10}), 'in clear', 'and did fire');
	sql($subscriber, q{INSERT INTO triggered VALUES (100, 'local', NULL)});
	is(sql($subscriber, q{SELECT plain IS NULL, decrypt(sealed, enc_context('100')) FROM triggered WHERE id = 100}),
		't|local', 'subscriber: it seals what is written there');
	return;
}

# FOR ALL TABLES takes the key tables along.
sub all_tables
{
	my $db = 'everything';

	sql($_, "CREATE DATABASE $db") foreach $primary, $subscriber;
	EnvcryptTest::install($_, $db) foreach $primary, $subscriber;
	sql($_, 'CREATE TABLE t (id integer PRIMARY KEY, v enc_bytea)', db => $db) foreach $primary, $subscriber;
	sql($primary, q{SELECT create_key('k'), grant_key('k', 'public', '{decrypt}');
		INSERT INTO t VALUES (1, encrypt('one', 'k')); CREATE PUBLICATION every FOR ALL TABLES}, db => $db);
	my $info = $primary->connstr . " dbname=$db";
	sql($subscriber, "CREATE SUBSCRIPTION every CONNECTION '$info' PUBLICATION every", db => $db);
	$subscriber->wait_for_subscription_sync($primary, 'every', $db);
	my $psql = $subscriber->background_psql($db, on_error_stop => 0, extra_params => [ '-U', 'app' ]);
	sql($subscriber, 'GRANT SELECT ON t TO app', db => $db);
	is($psql->query('SELECT decrypt(v) FROM t WHERE id = 1;'), 'one', 'FOR ALL TABLES: keys come with the first copy');

	sql($primary, q{SELECT create_key('k2')}, db => $db);
	sql($primary, q{INSERT INTO t VALUES (2, encrypt('two', 'k2'))}, db => $db);
	$primary->wait_for_catchup('every');
	is(sql($subscriber, 'SELECT decrypt(v) FROM t WHERE id = 2', db => $db), 'two', 'FOR ALL TABLES: a new key follows');
	sql($primary, q{SELECT revoke_key('k', 'public')}, db => $db);
	sql($primary, q{SELECT disable_key('k2')}, db => $db);
	$primary->wait_for_catchup('every');
	is(state_in($psql, 'SELECT decrypt(v) FROM t WHERE id = 1'), '42501',
		'FOR ALL TABLES: a revoke follows and holds in an open session');
	fails_with($subscriber, '55000', 'SELECT decrypt(v) FROM t WHERE id = 2', 'FOR ALL TABLES: so does a disabled key',
		db => $db);
	fails_with($subscriber, '42501', 'DELETE FROM envcrypt.key', 'FOR ALL TABLES: users still cannot write keys',
		db => $db);
	$psql->quit;
	return;
}

base_backup();
standby_reads();
changes_reach_open_session();
publish();
keys_arrive();
changes_replicate();
trigger_on_subscriber();
all_tables();
promotion();

done_testing();
