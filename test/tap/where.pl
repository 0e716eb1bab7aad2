# where.pl: the places a database goes to: a moment in the past, a standby of a
# standby, a copy made as a template, another database by postgres_fdw, and
# partitions.

use strict;
use warnings FATAL => 'all';

use EnvcryptSession;
use EnvcryptTest;
use File::Path qw(rmtree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary',
	init => { allows_streaming => 1, has_archiving => 1, extra => ['--wal-segsize=1'] },
	conf => "wal_keep_size = 256MB\nautovacuum = off\nmax_connections = 30\n");

# What a row gives to whoever asks: its text, or the SQLSTATE.
my $OPENED = q{
	CREATE FUNCTION opened(v enc_bytea) RETURNS text LANGUAGE plpgsql STABLE AS $$
	BEGIN
		RETURN decrypt(v);
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
};

sql($primary, $OPENED . q{
	CREATE ROLE app LOGIN;
	CREATE ROLE clerk LOGIN;
	CREATE TABLE doc (id integer PRIMARY KEY, v enc_bytea);
	GRANT SELECT ON doc TO app, clerk;
	CREATE FUNCTION put(n integer, k text) RETURNS void LANGUAGE sql AS
		$$ INSERT INTO doc VALUES (n, encrypt('row ' || n, k)) $$;
	SELECT create_key('a'), grant_key('a', 'app');
	SELECT put(0, 'a');
});
$primary->backup('base');

# ---- point-in-time recovery: one base backup, 20 moments

# What is committed between one moment and the next, a transaction each.  The
# transaction that makes key "open" spans moment 9.
my @STEPS = (
	q{SELECT put(1, 'a')},
	q{SELECT create_key('b'); SELECT put(2, 'b')},
	q{SELECT grant_key('b', 'app'); SELECT put(3, 'b')},
	q{SELECT grant_key('a', 'clerk', '{decrypt}'); SELECT put(4, 'a')},
	q{SELECT revoke_key('a', 'app'); SELECT put(5, 'a')},
	q{SELECT disable_key('a'); SELECT put(6, 'b')},
	q{SELECT create_key('c', 'aes-256-siv'); SELECT put(7, 'c')},
	q{SELECT enable_key('a'); SELECT put(8, 'a')},
	q{SELECT put(9, 'b')},
	q{SELECT put(10, 'open')},
	q{SELECT grant_key('open', 'public', '{decrypt}'); SELECT put(11, 'open')},
	q{SELECT disable_key('open'), disable_key('b'); SELECT put(12, 'a')},
	q{SELECT enable_key('b'); SELECT put(13, 'b')},
	q{SELECT revoke_key('open', 'public'); SELECT put(14, 'a')},
	q{SAVEPOINT s; SELECT create_key('undone'), grant_key('undone', 'app'); SELECT put(1000, 'c');
		ROLLBACK TO s; SELECT put(15, 'c')},
	q{SELECT grant_key('c', 'app', '{search,decrypt}'); SELECT put(16, 'c')},
	q{SELECT revoke_key('b', 'app', '{encrypt}'); SELECT put(17, 'b')},
	q{SELECT create_key('d'), grant_key('d', 'clerk'); SELECT put(18, 'd')},
	q{SELECT enable_key('open'), revoke_key('a', 'clerk'); SELECT put(19, 'open')},
	q{SELECT disable_key('d'); UPDATE doc SET v = encrypt('row 2', 'c') WHERE id = 2; SELECT put(20, 'c')});

# All that a moment is known by.
my $STATE = q{
	SELECT 'key', name, algorithm, enabled FROM envcrypt.key ORDER BY name;
	SELECT 'version', key, number, state, kvid FROM envcrypt.key_version ORDER BY key, number;
	SELECT 'wrap', kvid, root_key, wrapped FROM envcrypt.key_wrap ORDER BY kvid;
	SELECT 'grant', key, grantee, privileges, active FROM envcrypt.grants ORDER BY key, grantee;
	SELECT 'audit', at, action, key, detail FROM envcrypt.audit_log ORDER BY at, action, key, detail::text;
	SELECT 'row', id, v, opened(v) FROM doc ORDER BY id;
	SET ROLE app;
	SELECT 'app', id, opened(v) FROM doc ORDER BY id;
	SET ROLE clerk;
	SELECT 'clerk', id, opened(v) FROM doc ORDER BY id;
};

# The moment right after a step, and how recovery is told of it.
sub moment
{
	my ($n, $xid) = @_;
	my $kind = qw(name lsn time xid) [ $n % 4 ];
	my %target = (
		name => sub { sql($primary, "SELECT pg_create_restore_point('moment_$n')"); "name = 'moment_$n'" },
		# the next record begins there: replay stops before it
		lsn => sub { 'lsn = ' . quoted(sql($primary, 'SELECT pg_current_wal_insert_lsn()'))
				. "\nrecovery_target_inclusive = off" },
		time => sub { 'time = ' . quoted(sql($primary, 'SELECT clock_timestamp()')) },
		xid => sub { "xid = '$xid'" });

	return { n => $n, kind => $kind, state => sql($primary, $STATE), target => $target{$kind}->() };
}

sub quoted { return "'$_[0]'"; }

sub step
{
	my ($n) = @_;
	my $out = sql($primary, "BEGIN; $STEPS[$n - 1]; SELECT 'xid ' || pg_current_xact_id()::text; COMMIT;");

	return moment($n, $out =~ /^xid (\d+)$/m);
}

# Live through the steps, and some more, so that every moment is followed.
sub live
{
	my $psql = EnvcryptSession->new($primary);
	my @moments;

	foreach my $n (1 .. @STEPS)
	{
		$psql->run(q{BEGIN; SELECT create_key('open'), grant_key('open', 'clerk'); SELECT put(100, 'open')})
			if $n == 9;
		is($psql->run('COMMIT'), '', 'the transaction that was open at moment 9 commits') if $n == 10;
		push @moments, step($n);
	}
	sql($primary, q{SELECT create_key('later'), grant_key('later', 'public'), put(21, 'a'); SELECT put(22, 'later');
		DELETE FROM doc WHERE id < 5});
	$psql->quit;
	archive();
	return @moments;
}

# What is written so far is in the archive.
sub archive
{
	my $segment = sql($primary, 'SELECT pg_walfile_name(pg_switch_wal())');

	$primary->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver")
		or die 'the last segment was not archived';
	return;
}

# A server at that moment.  It does not archive: its timeline is nobody else's.
sub recover
{
	my ($past, $moment) = @_;

	rmtree($past->data_dir);
	$past->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
	$past->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_action = promote\n"
			. "recovery_target_timeline = current\nrecovery_target_$moment->{target}");
	$past->start;
	$past->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'no promotion';
	return;
}

# What moment N has by the script above, not by what the primary said.
sub rows_by { my ($n) = @_; return join("\n", map { "row $_" } 0 .. $n, $n >= 10 ? 100 : ()); }

sub at_moment
{
	my ($past, $moment) = @_;
	my $name = "moment $moment->{n} (by $moment->{kind})";

	recover($past, $moment);
	is(sql($past, $STATE), $moment->{state}, "$name: keys, grants and rows are those of then");
	is(sql($past, q{DO $$ BEGIN PERFORM enable_key(name) FROM envcrypt.key WHERE NOT enabled; END $$;
			SELECT decrypt(v) FROM doc ORDER BY id}), rows_by($moment->{n}),
		"$name: every row committed by then opens, and there is no other");
	is(sql($past, q{SELECT create_key('new'); SELECT put(50, 'new'), put(51, 'a');
			SELECT string_agg(decrypt(v), ' ' ORDER BY id) FROM doc WHERE id IN (50, 51)}),
		"\n|\nrow 50 row 51", "$name: it goes on from there");
	$past->stop('immediate');
	return;
}

sub point_in_time
{
	my $past = PostgreSQL::Test::Cluster->new('past');
	my @moments = live();

	# backwards, so that nothing a later one leaves could help
	at_moment($past, $_) foreach reverse @moments;
	is(scalar @moments, 20, 'point-in-time recovery: 20 moments');
	my %states = map { $_->{state} => 1 } @moments;
	is(scalar keys %states, 20, 'no two of them alike');
	return;
}

# ---- several databases, and copies of them

my $SHOP = $OPENED . q{
	CREATE TABLE doc (id integer PRIMARY KEY, mail enc_bytea(deterministic) UNIQUE, v enc_bytea);
	GRANT ALL ON doc TO app, clerk;
	SELECT create_key('pii'), create_key('mail', 'aes-256-siv'), create_key('off');
	SELECT grant_key('pii', 'app'), grant_key('mail', 'app');
	INSERT INTO doc SELECT i, encrypt('m' || i, 'mail'), encrypt(current_database() || ' ' || i, 'pii')
		FROM generate_series(1, 9) i;
	INSERT INTO doc (id, v) VALUES (10, encrypt('off', 'off'));
	SELECT disable_key('off');
};

sub new_database
{
	my ($db) = @_;

	sql($primary, "CREATE DATABASE $db");
	EnvcryptTest::install($primary, $db);
	sql($primary, $SHOP, db => $db);
	return;
}

# Settings made by ALTER DATABASE are not copied.
sub copy_database
{
	my ($from, $to) = @_;

	sql($primary, qq{CREATE DATABASE $to TEMPLATE $from});
	sql($primary, qq{ALTER DATABASE $to SET search_path = public, envcrypt});
	return;
}

sub keys_per_database
{
	new_database($_) foreach qw(shop books);
	my %kvid = map { $_ => sql($primary, q{SELECT kvid FROM envcrypt.key_version WHERE key = 'pii'}, db => $_) } qw(shop books);
	my $value = sql($primary, q{SELECT v FROM doc WHERE id = 1}, db => 'shop');

	isnt($kvid{shop}, $kvid{books}, 'databases: a key of the same name is another key');
	fails_with($primary, '42704', "SELECT decrypt('$value')", "databases: another database's value is not opened",
		db => 'books');
	is(sql($primary, "SELECT key IS NULL, algorithm FROM enc_info('$value')", db => 'books'), 't|xaes-256-gcm',
		'databases: nor is its key known');
	fails_with($primary, '42704', q{SELECT encrypt('x', 'pii')}, 'databases: a key is not seen from another');
	sql($primary, q{SELECT revoke_key('pii', 'app')}, db => 'books');
	is(sql($primary, q{SELECT opened(v) FROM doc WHERE id = 1}, db => $_->[0], user => 'app'), $_->[1],
		"databases: a revoke in one: $_->[0]") foreach ([ 'shop', 'shop 1' ], [ 'books', '42501' ]);
	return;
}

sub template_copy
{
	my $all = q{SELECT id, mail, v, opened(v), opened(mail) FROM doc ORDER BY id};

	copy_database('shop', 'copy');
	is(sql($primary, $all, db => 'copy', user => $_), sql($primary, $all, db => 'shop', user => $_),
		'TEMPLATE: ' . ($_ // 'a superuser') . ' opens what it opens in the original, and no more')
		foreach (undef, 'app', 'clerk');
	is(sql($primary, q{SELECT bool_and(active), count(*) FROM envcrypt.grants}, db => 'copy'),
		sql($primary, q{SELECT bool_and(active), count(*) FROM envcrypt.grants}, db => 'shop'),
		'TEMPLATE: grants are in force');
	is(sql($primary, q{SELECT id FROM doc WHERE mail = encrypt('m3', 'mail')}, db => 'copy', user => 'app'), '3',
		'TEMPLATE: deterministic values are found');
	is(sql($primary, q{SELECT opened(v) FROM doc WHERE id = 10}, db => 'copy'), '55000',
		'TEMPLATE: a disabled key is disabled');
	return;
}

# From then on each is by itself, and a session of the one does not see the other.
sub copies_part
{
	my %psql = map { $_ => EnvcryptSession->new($primary, user => 'app', db => $_) } qw(shop copy);
	my $read = 'SELECT opened(v) FROM doc WHERE id = 2';

	is($psql{$_}->run($read), 'shop 2', "copies: a session of $_ reads") foreach qw(shop copy);
	sql($primary, q{SELECT revoke_key('pii', 'app')}, db => 'copy');
	is(join(' ', map { $psql{$_}->run($read) } qw(shop copy)), 'shop 2 42501', 'copies: a revoke is for one of them');
	sql($primary, q{SELECT grant_key('pii', 'app')}, db => 'copy');
	sql($primary, q{SELECT disable_key('pii')}, db => 'shop');
	is(join(' ', map { $psql{$_}->run($read) } qw(shop copy)), '55000 shop 2', 'copies: so is disabling a key');
	sql($primary, q{SELECT enable_key('pii')}, db => 'shop');
	$_->quit foreach values %psql;
	return;
}

# A value sealed in the copy opens in the original: it is the same key.
sub copies_share_keys
{
	my $value = sql($primary, q{SELECT encrypt('from the copy', 'pii')}, db => 'copy', user => 'app');

	is(sql($primary, "SELECT decrypt('$value')", db => 'shop', user => 'app'), 'from the copy',
		'copies: the original opens what the copy sealed');
	return;
}

# DROP DATABASE of the original, while sessions of other databases use its keys.
sub drop_original
{
	my @psql = map { EnvcryptSession->new($primary, user => 'app', db => $_) } qw(copy copy);
	my $inside = EnvcryptSession->new($primary, user => 'app', db => 'shop');
	my $read = 'SELECT opened(v) FROM doc WHERE id = 4';

	is($psql[0]->run($read), 'shop 4', 'DROP DATABASE: a session of the copy reads');
	is($inside->run($read), 'shop 4', 'DROP DATABASE: so does one of the original');
	$psql[0]->run('BEGIN ISOLATION LEVEL REPEATABLE READ');
	is($psql[0]->run($read), 'shop 4', 'DROP DATABASE: in a transaction too');
	fails_with($primary, '55006', 'DROP DATABASE shop', 'DROP DATABASE: refused while it is in use');
	$inside->quit;
	sql($primary, 'DROP DATABASE shop WITH (FORCE)');
	is($_->run($read), 'shop 4', 'DROP DATABASE: sessions of the copy go on') foreach @psql;
	is($psql[0]->run('COMMIT'), '', 'DROP DATABASE: and commit');
	is($psql[1]->run(q{SELECT decrypt(encrypt('x', 'pii'))}), 'x', 'DROP DATABASE: the copy seals');
	is(sql($primary, $read, db => 'copy', user => 'app'), 'shop 4', 'DROP DATABASE: a new session reads');
	$_->quit foreach @psql;
	return;
}

# One of the same name has other keys, and does not open the old one's values.
sub same_name_again
{
	my $value = sql($primary, q{SELECT v FROM doc WHERE id = 1}, db => 'copy');

	new_database('shop');
	is(sql($primary, "SELECT opened('$value')", db => 'shop'), '42704', 'DROP DATABASE: the next of that name has other keys');
	is(sql($primary, 'SELECT opened(v) FROM doc WHERE id = 1', db => 'shop', user => 'app'), 'shop 1',
		'DROP DATABASE: its own');
	return;
}

# ---- postgres_fdw: from the copy to the database it is a copy of

my $FOREIGN = 'id integer, mail enc_bytea(deterministic), v enc_bytea';

sub fdw_setup
{
	my ($host, $port) = ($primary->host, $primary->port);

	sql($primary, 'CREATE EXTENSION postgres_fdw', db => 'copy');
	sql($primary, qq{
		CREATE SERVER $_ FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname '$_');
		CREATE USER MAPPING FOR PUBLIC SERVER $_ OPTIONS (user 'clerk', password_required 'false');
		CREATE FOREIGN TABLE f_$_ ($FOREIGN) SERVER $_ OPTIONS (table_name 'doc');
		GRANT ALL ON f_$_ TO app, clerk;
	}, db => 'copy') foreach qw(shop books);
	return;
}

sub remote_sql
{
	my ($query) = @_;

	return join("\n", sql($primary, "EXPLAIN (VERBOSE, COSTS off) $query", db => 'copy') =~ /Remote SQL: (.*)/g);
}

# The role that the server maps to has no grant there, and needs none.
sub fdw_reads
{
	is(sql($primary, 'SELECT * FROM f_shop ORDER BY id', db => 'copy'),
		sql($primary, 'SELECT * FROM doc ORDER BY id', db => 'shop'),
		'postgres_fdw: values come sealed');
	is(sql($primary, 'SELECT opened(v), opened(mail) FROM f_shop WHERE id = 5', db => 'copy', user => 'app'), 'shop 5|m5',
		'postgres_fdw: and are opened here');
	is(sql($primary, 'SELECT opened(v) FROM f_shop WHERE id = 5', db => 'copy', user => 'clerk'), '42501',
		'postgres_fdw: the grants here decide');
	is(sql($primary, 'SELECT opened(v), opened(mail) FROM f_books WHERE id = 5', db => 'copy'), '42704|42704',
		'postgres_fdw: values of other keys: 42704');
	is(sql($primary, q{SELECT f.id, decrypt(f.v) = decrypt(d.v) FROM f_shop f JOIN doc d USING (mail)
			WHERE d.id < 3 ORDER BY 1},
			db => 'copy'), "1|t\n2|t", 'postgres_fdw: a join with a table here');
	sql($primary, q{CREATE SCHEMA i; IMPORT FOREIGN SCHEMA public LIMIT TO (doc) FROM SERVER shop INTO i}, db => 'copy');
	is(sql($primary, q{SELECT decrypt(v) FROM i.doc WHERE id = 6}, db => 'copy'), 'shop 6',
		'postgres_fdw: IMPORT FOREIGN SCHEMA');
	return;
}

# In the other database's log there is nothing in clear.
sub fdw_writes
{
	my $offset = -s $primary->logfile;
	my $back = q{SELECT opened(v), opened(mail) FROM doc WHERE id >= 20 ORDER BY id};

	sql($primary, q{
		INSERT INTO f_shop SELECT i, encrypt('clear mail ' || i, 'mail'), encrypt('clear text ' || i, 'pii')
			FROM generate_series(20, 22) i;
		UPDATE f_shop SET v = encrypt('clear again', 'pii') WHERE id = 21;
		DELETE FROM f_shop WHERE mail = encrypt('clear mail 22', 'mail');
	}, db => 'copy', user => 'app');
	is(sql($primary, $back, db => 'shop', user => 'app'), "clear text 20|clear mail 20\nclear again|clear mail 21",
		'postgres_fdw: what is sealed here is opened there');
	my @lines = grep { /\] postgres_fdw / } split /\n/, slurp_log($primary, $offset);
	ok((grep { /INSERT INTO public\.doc/ } @lines) && (grep { /UPDATE public\.doc/ } @lines), 'postgres_fdw: it was asked');
	ok((grep { /[Pp]arameters: .*\\x/ } @lines), 'postgres_fdw: with sealed parameters');
	is(scalar(grep { /clear/ } @lines), 0, 'postgres_fdw: nothing in clear went there');
	fails_with($primary, '22023', q{INSERT INTO f_shop VALUES (30, encrypt('x', 'pii'), NULL)},
		'postgres_fdw: the column type holds before it is asked', db => 'copy');
	return;
}

# Which conditions go there.  Functions that open or seal never do: postgres_fdw
# sends what is immutable.  Operators go with the option "extensions".
my %CONDITIONS = (
	'decrypt(v) = %s' => "'shop 7'",
	'try_decrypt(v) = %s' => "'shop 7'",
	'mail = %s' => q{encrypt('m7', 'mail')},
	'mail = ANY (%s)' => q{search_terms('m7', 'mail')});

sub fdw_conditions
{
	my ($with) = @_;

	foreach my $condition (sort keys %CONDITIONS)
	{
		my $query = 'SELECT id, decrypt(v) FROM f_shop WHERE id < 10 AND ' . sprintf($condition, $CONDITIONS{$condition});
		like(remote_sql($query), qr{WHERE \(\(id < 10\)\)$}, "$with: $condition stays here");
		is(sql($primary, $query, db => 'copy', user => 'app'), '7|shop 7', "$with: and finds");
	}
	unlike(remote_sql('SELECT count(decrypt(v)), max(decrypt(mail)) FROM f_shop'), qr/crypt|count|max/i,
		"$with: aggregates of opened values stay here");
	unlike(remote_sql('SELECT id FROM f_shop ORDER BY decrypt(mail) LIMIT 1'), qr/crypt|ORDER|LIMIT/,
		"$with: so does their order");
	unlike(remote_sql(q{UPDATE f_shop SET v = encrypt('x', 'pii') WHERE id = 1}), qr/crypt|'x'/,
		"$with: and what is to be sealed");
	return;
}

# A sealed value to look for is sent, where the operator is.
sub fdw_pushdown
{
	my $query = q{SELECT id, decrypt(v) FROM f_shop WHERE mail = (SELECT encrypt('m7', 'mail'))};
	my $value = sql($primary, q{SELECT encrypt('m7', 'mail')}, db => 'copy');

	fdw_conditions('without extensions');
	unlike(remote_sql($query), qr/WHERE/, 'postgres_fdw: without the option, = stays here');
	sql($primary, q{ALTER SERVER shop OPTIONS (ADD extensions 'envcrypt')}, db => 'copy');
	fdw_conditions('with extensions');
	like(remote_sql($query), qr/WHERE \(\(mail = \$1::envcrypt\.enc_bytea/,
		'postgres_fdw: with it, a sealed value is looked for there');
	like(remote_sql("SELECT id FROM f_shop WHERE mail = '$value'"), qr{WHERE \(\(mail = E?'\\+x[0-9a-f]{20,}'},
		'postgres_fdw: a literal too');
	is(sql($primary, $query, db => 'copy', user => 'app'), '7|shop 7', 'postgres_fdw: and found');
	return;
}

# What the other database opens, it opens for the role the server maps to.
sub fdw_remote_view
{
	sql($primary, q{CREATE VIEW clear WITH (security_barrier) AS SELECT id, envcrypt.decrypt(v) AS t FROM doc WHERE id < 5;
		GRANT SELECT ON clear TO clerk}, db => 'shop');
	sql($primary, q{CREATE FOREIGN TABLE f_clear (id integer, t text) SERVER shop OPTIONS (table_name 'clear')}, db => 'copy');
	fails_with($primary, '42501', 'SELECT t FROM f_clear', 'postgres_fdw: a view that opens there needs a grant there',
		db => 'copy');
	sql($primary, q{SELECT grant_key('pii', 'clerk', '{decrypt}')}, db => 'shop');
	is(sql($primary, 'SELECT t FROM f_clear WHERE id = 2', db => 'copy'), 'shop 2', 'postgres_fdw: and opens with it');
	return;
}

# ---- partitioned tables

my $PARTITIONED = q{
	CREATE TABLE ev (id integer, region text, plain text, mail enc_bytea(deterministic), v enc_bytea, bound enc_bytea)
		PARTITION BY LIST (region);
	CREATE TABLE ev_eu PARTITION OF ev FOR VALUES IN ('eu');
	CREATE TABLE ev_us PARTITION OF ev FOR VALUES IN ('us');
	CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON ev FOR EACH ROW
		EXECUTE FUNCTION encrypt_trigger('plain', 'bound', 'a', 'id');
	CREATE TABLE loose (LIKE ev);
	INSERT INTO ev SELECT i,
			CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, 'bound ' || i, encrypt('m' || i, 'c'), encrypt('v ' || i, 'a')
		FROM generate_series(1, 10) i;
	INSERT INTO loose SELECT i, 'as', NULL, encrypt('m' || i, 'c'), encrypt('v ' || i, 'a'),
			encrypt_bound('bound ' || i, 'a', enc_context(i::text))
		FROM generate_series(11, 15) i;
};

# All rows open to what their id says, in so many rows of so many partitions.
sub events_are
{
	my ($rows, $partitions, $name) = @_;

	return is(sql($primary, q{SELECT count(*), count(DISTINCT tableoid), count(*) FILTER (WHERE decrypt(mail) = 'm' || id
			AND decrypt(v) = 'v ' || id AND decrypt(bound, enc_context(id::text)) = 'bound ' || id AND plain IS NULL) FROM ev}),
		"$rows|$partitions|$rows", "partitions: $name");
}

sub attach_detach
{
	sql($primary, $PARTITIONED);
	events_are(10, 2, 'rows open');
	sql($primary, q{ALTER TABLE ev ATTACH PARTITION loose FOR VALUES IN ('as')});
	events_are(15, 3, 'ATTACH');
	is(sql($primary, q{SELECT id FROM ev WHERE mail = encrypt('m12', 'c')}), '12', 'partitions: what came with it is found');
	sql($primary, 'ALTER TABLE ev DETACH PARTITION ev_us');
	events_are(10, 2, 'DETACH');
	is(sql($primary, q{SELECT string_agg(decrypt(v), ' ' ORDER BY id) FROM ev_us}), 'v 1 v 3 v 5 v 7 v 9',
		'partitions: what was detached opens');
	sql($primary, q{ALTER TABLE ev ATTACH PARTITION ev_us FOR VALUES IN ('us')});
	sql($primary, 'ALTER TABLE ev DETACH PARTITION loose CONCURRENTLY');
	sql($primary, q{ALTER TABLE ev ATTACH PARTITION loose FOR VALUES IN ('as')});
	events_are(15, 3, 'and back');
	sql($primary, 'CREATE TABLE wide (LIKE ev); ALTER TABLE wide ALTER mail TYPE enc_bytea');
	fails_with($primary, '42804', q{ALTER TABLE ev ATTACH PARTITION wide FOR VALUES IN ('xx')},
		'partitions: a column of randomized values is not attached to one of deterministic values');
	return;
}

sub row_movement
{
	my $before = sql($primary, 'SELECT id, mail, v, bound FROM ev ORDER BY id');

	sql($primary, q{UPDATE ev SET region = CASE region WHEN 'eu' THEN 'us' WHEN 'us' THEN 'as' ELSE 'eu' END});
	events_are(15, 3, 'rows that move stay readable');
	is(sql($primary, 'SELECT id, mail, v, bound FROM ev ORDER BY id'), $before, 'partitions: byte for byte');
	is(sql($primary, q{SELECT tableoid::regclass, count(*) FROM ev GROUP BY tableoid ORDER BY tableoid::regclass::text}), "ev_eu|5\nev_us|5\nloose|5",
		'partitions: they moved');
	sql($primary, q{UPDATE ev SET region = 'eu', plain = 'bound ' || id WHERE id < 6});
	events_are(15, 3, 'rows that move and are sealed anew');
	sql($primary, q{ALTER TABLE loose DISABLE TRIGGER seal; UPDATE ev SET region = 'eu'});
	events_are(15, 1, 'all in one');
	return;
}

# By the hash of a deterministic column, unique over all partitions.
sub hash_partitions
{
	sql($primary, q{
		CREATE TABLE h (mail enc_bytea(deterministic) PRIMARY KEY, v enc_bytea) PARTITION BY HASH (mail);
		CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		INSERT INTO h SELECT encrypt('m' || i, 'c'), encrypt('v ' || i, 'a') FROM generate_series(1, 40) i;
		UPDATE h SET mail = encrypt(decrypt(mail) || '+', 'c');
	});
	is(sql($primary, q{SELECT count(DISTINCT tableoid), count(*), 
			bool_and(decrypt(mail) = replace(decrypt(v), 'v ', 'm') || '+') FROM h}),
		'2|40|t', 'hash partitions: sealed anew, rows move, and open');
	is(sql($primary, q{SELECT decrypt(v) FROM h WHERE mail = encrypt('m33+', 'c')}), 'v 33', 'hash partitions: found');
	fails_with($primary, '23505', q{INSERT INTO h VALUES (encrypt('m33+', 'c'), NULL)}, 'hash partitions: unique over all');
	fails_with($primary, '0A000', q{CREATE TABLE r (v enc_bytea) PARTITION BY HASH (v)},
		'hash partitions: not by randomized values');
	return;
}

# ---- a standby of a standby

my ($first, $second) = map { PostgreSQL::Test::Cluster->new($_) } qw(first second);
my $DOCS = 'SELECT id, v, opened(v) FROM doc ORDER BY id';

sub follow
{
	my ($standby, $from) = @_;

	$standby->init_from_backup($primary, 'base');
	$standby->append_conf('postgresql.conf', 'archive_mode = off');
	$standby->enable_streaming($from);
	$standby->start;
	return;
}

# A standby's position is not asked for: the first in the line says how far.
sub catch_up
{
	my ($from, @line) = @_;
	my $lsn = $from->lsn('write');

	foreach my $standby (@line)
	{
		$from->wait_for_catchup($standby, 'replay', $lsn);
		$from = $standby;
	}
	return;
}

sub cascade_reads
{
	follow($first, $primary);
	follow($second, $first);
	catch_up($primary, $first, $second);
	values_equal($primary, $second, $DOCS, 'cascade: the second standby opens every row');
	fails_with($second, '25006', q{SELECT create_key('x')}, 'cascade: it makes no keys');
	is(sql($second, q{SELECT opened(v) FROM doc WHERE id = 1}, db => 'copy', user => 'app'), 'shop 1',
		'cascade: a copied database opens there');
	return;
}

# Changes on the primary reach sessions that are open on the second one.
sub cascade_changes
{
	my ($psql) = @_;
	my $read = 'SELECT opened(v) FROM doc WHERE id = 13';
	my @steps = ([ q{revoke_key('b', 'app')}, '42501' ], [ q{grant_key('b', 'app')}, 'row 13' ],
		[ q{disable_key('b')}, '55000' ], [ q{enable_key('b')}, 'row 13' ]);

	is($psql->run($read), 'row 13', 'cascade: a session of the second reads');
	foreach my $step (@steps)
	{
		sql($primary, "SELECT $step->[0]");
		catch_up($primary, $first, $second);
		is($psql->run($read), $step->[1], "cascade: $step->[0] on the primary reaches it");
	}
	return;
}

# The first is promoted: the second follows it.
sub cascade_promotion
{
	my ($psql) = @_;

	$primary->stop('fast');
	$first->promote;
	is($psql->run('SELECT opened(v) FROM doc WHERE id = 13'), 'row 13',
		'cascade, promoted: the session of the second reads on');
	sql($first, q{SELECT create_key('after'), grant_key('after', 'app');
		SELECT put(200, 'after'); SELECT revoke_key('b', 'app')});
	catch_up($first, $second);
	is($psql->run('SELECT opened(v) FROM doc WHERE id IN (13, 200) ORDER BY id'), "42501\nrow 200",
		'cascade, promoted: a new key and a revoke reach it');
	values_equal($first, $second, $DOCS, 'cascade, promoted: every row');
	is(sql($second, 'SELECT pg_is_in_recovery()'), 't', 'cascade, promoted: the second is a standby still');
	return;
}

point_in_time();

keys_per_database();
template_copy();
copies_part();
copies_share_keys();

fdw_setup();
fdw_reads();
fdw_writes();
fdw_pushdown();
fdw_remote_view();

drop_original();
same_name_again();

attach_detach();
row_movement();
hash_partitions();

cascade_reads();
my $reader = EnvcryptSession->new($second, user => 'app');
cascade_changes($reader);
cascade_promotion($reader);
$reader->quit;

done_testing();
