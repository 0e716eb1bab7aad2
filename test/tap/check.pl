# envcrypt.check(): each finding is provoked, has the severity and the fix it
# should have, and is gone when that fix was run; without cause there is none.
use strict;
use warnings FATAL => 'all';

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

my $dir = PostgreSQL::Test::Utils::tempdir_short();
chmod 0700, $dir;
my $file = keygen("$dir/keys.json", '--name', 'default');
keygen($file, '--add', '--name', 'second');
my $quiet = qq{
log_statement = none
shared_preload_libraries = 'envcrypt'
envcrypt.local_key_file = '$file'
envcrypt.default_root_keys = 'local:default, local:second'
};
my $node = new_cluster('check', conf => $quiet, init => { allows_streaming => 1 });

# ---- helpers

# The findings, as hashes.  Of memory only preload: the rest is the machine's.
sub findings
{
	my (%o) = @_;
	my $on = delete $o{node} // $node;
	my $where = $o{all} ? '' : q{WHERE area <> 'memory' OR object = 'shared_preload_libraries'};
	return map { decode_json($_) } split /\n/, sql($on, "SELECT row_to_json(c)::text FROM envcrypt.check() c $where", %o);
}

sub matching
{
	my ($what, %o) = @_;
	return grep { "$_->{severity} $_->{area}: $_->{object} $_->{what}" =~ $what } findings(%o);
}

sub shown { return join "\n", map { "$_->{severity} $_->{area}: $_->{object} $_->{what} | $_->{fix}" } @_; }

# One finding like this, no other like it, and its fix.
sub one
{
	my ($what, $fix, $name, %o) = @_;
	my @found = matching($what, %o);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar @found, 1, "$name: found") or diag(shown(findings(%o)));
	like($found[0] ? $found[0]->{fix} : '', $fix, "$name: fix");
	isnt($found[0] ? $found[0]->{why} : '', '', "$name: why");
	return $found[0] ? $found[0]->{fix} : 'SELECT';
}

sub silent
{
	my ($what, $name, %o) = @_;
	my @found = matching($what, %o);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(shown(@found), '', "$name: silent");
}

# Silent, provoked by SQL, found, its fix run as it stands but for what is in
# parentheses of words, silent.
sub provoke
{
	my ($name, $sql, $what, $fix, %o) = @_;
	my $after = delete $o{after};

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	silent($what, "$name, before", %o);
	sql($node, $sql, %o);
	my $run = one($what, $fix, $name, %o);
	$run =~ s/ \((?:or only|once|where that|CREATE VIEW).*//;
	is(sqlstate($node, $run, %o), '00000', "$name: the fix runs");
	silent($what, "$name, after", %o);
	sql($node, $after, %o) if $after;
	return;
}

# ---- all is well

is(shown(findings()), '', 'a new database of a well configured server has no findings');
sql($node, q{SELECT create_key('pii'), create_key('mail', 'aes-256-siv')});
one(qr/^warning backup: \Q$file\E no copy of the key file is on record$/, qr/SELECT envcrypt\.note_copy\('key_file', /, 'no copy');
one(qr/^warning backup: key $_ was never exported$/, qr/export_keyring/, "no export of $_") foreach qw(pii mail);
sql($node, q{SELECT note_copy('key_file', 'the safe in Berne'), note_copy('export', 'git')});
is(shown(findings()), '', 'with both copies noted there are none');
is(sql($node, q{SELECT string_agg(concat_ws(' ', action, key, detail->>'place'), ',' ORDER BY at) FROM audit WHERE action LIKE '%copied'}),
	'key_file_copied  the safe in Berne,export_copied  git', 'which the audit view shows');
fails_with($node, '22023', "SELECT note_copy($_)", "note_copy($_)")
  foreach q{'keys', 'x'}, q{NULL, 'x'}, q{'export', NULL}, q{'export', ''}, q{'export', repeat('x', 501)};

# ---- who may ask

sql($node, q{CREATE ROLE app LOGIN; CREATE ROLE mon LOGIN IN ROLE pg_monitor});
sql($node, q{ALTER ROLE app SET log_statement = 'all'});
is(shown(findings(user => 'mon')), shown(findings()), 'a member of pg_monitor sees what a superuser does');
cmp_ok(scalar(findings(user => 'mon')), '>=', 1, 'which is something');
sql($node, 'ALTER ROLE app RESET log_statement');
fails_with($node, '42501', 'SELECT * FROM envcrypt.check()', 'others may not ask', user => 'app');
fails_with($node, '42501', "SELECT * FROM envcrypt.$_", "nor pg_monitor call $_", user => 'mon')
  foreach 'key_file_status()', 'check_keys()', q{wrap_problems('{}', '{}')}, q{note_copy('export', 'x')}, 'key_wrap';
sql($node, q{CREATE SCHEMA evil; CREATE FUNCTION evil.replace(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT (1/0)::text';
	GRANT ALL ON SCHEMA evil TO PUBLIC});
is(sqlstate($node, 'SET search_path = evil, pg_catalog; CREATE TEMP TABLE pg_roles (x int); SELECT * FROM envcrypt.check()', user => 'mon'),
	'00000', 'names of the caller are not looked at');

# ---- settings: as new sessions have them, of roles and databases, in files

my @settings = (
	[ 'log_statement=all', 'warning', 'log_statement' ],
	[ 'log_statement=ddl', 'notice', 'log_statement' ],
	[ 'log_min_duration_statement=0', 'warning', 'log_min_duration_statement' ],
	[ 'log_min_duration_statement=5s', 'warning', 'log_min_duration_statement' ],
	[ 'log_min_duration_sample=1', 'warning', 'log_min_duration_sample' ],
	[ 'log_transaction_sample_rate=0.01', 'warning', 'log_transaction_sample_rate' ],
	[ 'log_statement=mod', 'warning', 'log_parameter_max_length' ],
	[ 'log_min_duration_statement=0 log_parameter_max_length=9', 'warning', 'log_parameter_max_length' ],
	[ 'log_parameter_max_length_on_error=-1', 'warning', 'log_parameter_max_length_on_error' ],
	[ 'log_parameter_max_length_on_error=64', 'warning', 'log_parameter_max_length_on_error' ],
	[ 'debug_print_parse=on', 'warning', 'debug_print_parse' ],
	[ 'debug_print_rewritten=on', 'warning', 'debug_print_rewritten' ],
	[ 'debug_print_plan=on', 'warning', 'debug_print_plan' ],
	[ 'session_preload_libraries=auto_explain auto_explain.log_min_duration=1s', 'warning', 'auto_explain.log_min_duration' ]);
my @harmless = ('log_duration=on', 'log_parameter_max_length=-1', 'log_min_duration_statement=-1',
	'session_preload_libraries=auto_explain', 'auto_explain.log_min_duration=0');

sub with_options
{
	my ($options, $code) = @_;
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } split / /, $options;
	return $code->();
}

foreach (@settings)
{
	my ($options, $severity, $object) = @$_;
	my $what = qr/^$severity logging: \Q$object\E is /;

	silent($what, "without $options");
	with_options($options, sub { one($what, qr/^ALTER SYSTEM SET \Q$object\E = '.*'; SELECT pg_reload_conf\(\);$/, $options) });
}
with_options($_, sub { silent(qr/logging/, $_) }) foreach @harmless;
with_options('log_statement=all log_parameter_max_length=0', sub { silent(qr/log_parameter/, 'parameters cut off') });
with_options('log_statement=all', sub {
	is(scalar(matching(qr/log_statement/, node => $node)), 1, 'a session cannot hide what the next one gets');
	like(sql($node, 'SET log_statement = none; SELECT object FROM envcrypt.check()'), qr/^log_statement$/m, 'by SET');
});
with_options("envcrypt.$_=on", sub { one(qr/^warning guards: envcrypt\.$_ is on/, qr/ALTER SYSTEM SET envcrypt\.$_ = 'off'/, $_) })
  foreach qw(allow_destroy allow_maintenance_decrypt);
provoke("of a $_->[0]", $_->[1], qr/^warning logging: log_statement \Q$_->[2]\E is all$/, qr/^ALTER .* RESET log_statement;$/)
  foreach [ 'role', q{ALTER ROLE app SET log_statement = 'all'}, 'of role app' ],
	[ 'database', q{ALTER DATABASE postgres SET log_statement = 'all'}, 'in database postgres' ],
	[ 'role in a database', q{ALTER ROLE app IN DATABASE postgres SET log_statement = 'all'}, 'of role app in database postgres' ];
provoke('pgaudit', q{ALTER ROLE app SET pgaudit.log = 'read, write'}, qr/^warning logging: pgaudit\.log of role app is /, qr/RESET pgaudit\.log;$/);
sql($node, q{ALTER ROLE app SET pgaudit.log = 'write'});
provoke('pgaudit parameters', q{ALTER ROLE app SET pgaudit.log_parameter = on}, qr/^warning logging: pgaudit\.log_parameter of role app/,
	qr/RESET pgaudit\.log_parameter;$/, after => 'ALTER ROLE app RESET ALL');

# ---- guards

my $off = 'ALTER EVENT TRIGGER envcrypt_guard_ddl DISABLE;';
my $on = 'ALTER EVENT TRIGGER envcrypt_guard_ddl ENABLE ALWAYS;';
my $allow = 'SET envcrypt.allow_destroy = on;';
provoke('trigger not ALWAYS', "$off ALTER TABLE envcrypt.key ENABLE TRIGGER guard_row; $on",
	qr/^critical guards: trigger guard_row of envcrypt.key is not ENABLE ALWAYS/, qr/^ALTER TABLE envcrypt.key ENABLE ALWAYS/);
provoke('trigger disabled', "$off ALTER TABLE envcrypt.key_grant DISABLE TRIGGER guard_truncate; $on",
	qr/^critical guards: trigger guard_truncate of envcrypt.key_grant is not/, qr/^ALTER TABLE/);
sql($node, 'ALTER TRIGGER guard_row ON envcrypt.key_wrap RENAME TO "Other"');
silent(qr/guards/, 'a trigger by another name');
sql($node, 'ALTER TRIGGER "Other" ON envcrypt.key_wrap RENAME TO guard_row');
provoke('trigger missing', "$allow DROP TRIGGER $_->[0] ON envcrypt.$_->[1]",
	qr/^critical guards: trigger $_->[0] of envcrypt.$_->[1] is missing/, qr/^CREATE TRIGGER/)
  foreach [ 'guard_row', 'audit_log' ], [ 'guard_truncate', 'key_wrap' ];
is(sql($node, q{SELECT count(*) FROM pg_trigger WHERE tgfoid = 'envcrypt.key_table_guard'::regproc AND tgenabled = 'A'}), '10', 'all ten are there');
fails_with($node, '42501', 'DELETE FROM envcrypt.audit_log', 'a repaired trigger guards');
foreach (qw(drop:critical ddl:warning))
{
	my ($event, $severity) = split /:/;
	my $name = "envcrypt_guard_$event";
	my $made = "SELECT pg_describe_object('pg_event_trigger'::regclass, oid, 0), evtevent, evttags, evtfoid, evtenabled FROM pg_event_trigger ORDER BY evtname";
	my $before = sql($node, $made);

	provoke("event trigger $event disabled", "ALTER EVENT TRIGGER $name DISABLE",
		qr/^$severity guards: event trigger $name is not/, qr/^ALTER EVENT TRIGGER $name ENABLE ALWAYS;$/);
	provoke("event trigger $event missing", "$allow ALTER EXTENSION envcrypt DROP EVENT TRIGGER $name; DROP EVENT TRIGGER $name",
		qr/^$severity guards: event trigger $name is missing/, qr/^CREATE EVENT TRIGGER/);
	is(sql($node, $made), $before, 'as it was made at first');
}
provoke('a table that left the extension', "$allow ALTER EXTENSION envcrypt DROP TABLE envcrypt.key_wrap",
	qr/^critical guards: table envcrypt.key_wrap its rows are not in dumps/, qr/^ALTER EXTENSION envcrypt ADD TABLE/);
provoke('a table that is not configuration', q{UPDATE pg_extension SET extconfig = extconfig[1:4], extcondition = extcondition[1:4] WHERE extname = 'envcrypt'},
	qr/^critical guards: table envcrypt.\w+ its rows are not in dumps/, qr/^UPDATE pg_catalog.pg_extension/);
like(`pg_dump -a -d "${\ $node->connstr('postgres')}"`, qr/COPY envcrypt\.$_ /, "pg_dump takes $_") foreach qw(key key_version key_wrap key_grant audit_log);

# ---- grants

sql($node, "CREATE ROLE $_; SELECT grant_key('pii', '$_')") foreach qw(anew again was gone);
provoke('role made anew', 'DROP ROLE anew; CREATE ROLE anew',
	qr/^warning grants: grant of encrypt, decrypt on key pii to anew is inert/, qr/revoke_key\('pii', 'anew'\); SELECT envcrypt.grant_key\('pii', 'anew', '\{encrypt,decrypt\}'\);/);
provoke('leftover', q{DROP ROLE again; CREATE ROLE again; SELECT grant_key('pii', 'again', '{decrypt}')},
	qr/^notice grants: grant of encrypt, decrypt on key pii to again is inert, beside/, qr/grant_key\('pii', 'again', '\{decrypt\}'\);$/);
provoke('role renamed', 'ALTER ROLE was RENAME TO "is Now"',
	qr/^warning grants: .* to was is inert: the role is called "is Now"/, qr/revoke_key\('pii', 'was'\); SELECT envcrypt.grant_key\('pii', 'is Now',/);
provoke('role gone', 'DROP ROLE gone', qr/^notice grants: .* to gone is inert: there is no such role/, qr/^SELECT envcrypt.revoke_key\('pii', 'gone'\);$/);
is(sql($node, q{SELECT grantee, privileges, active FROM grants ORDER BY 1}),
	"again|{decrypt}|t\nanew|{encrypt,decrypt}|t\nis Now|{encrypt,decrypt}|t", 'what the fixes left');
sql($node, q{SELECT grant_key('pii', 'public', '{decrypt}')});
one(qr/^warning grants: grant of decrypt on key pii to public is everybody's/, qr/revoke_key\('pii', 'public'\);$/, 'public');
sql($node, q{SELECT revoke_key('pii', 'public')});
silent(qr/public/, 'no grant to public');

# ---- keys

provoke('disabled', q{SELECT disable_key('pii')}, qr/^notice keys: key pii is disabled/, qr/^SELECT envcrypt.enable_key\('pii'\);$/);
sql($node, 'CREATE DATABASE lossy');
sql($node, q{CREATE EXTENSION envcrypt; SELECT envcrypt.create_key('two'), envcrypt.note_copy('key_file', 'x'), envcrypt.note_copy('export', 'x')}, db => 'lossy');
is(shown(findings(db => 'lossy')), '', 'each database for itself');
sql($node, q{SELECT envcrypt.create_key('single', root_keys => '{local:second}')}, db => 'lossy');
one(qr/^notice keys: key single 1 of its versions open by one root key only/, qr/envcrypt keygen --add/, 'one wrap', db => 'lossy');
silent(qr/key two/, 'two wraps', db => 'lossy');
one(qr/^warning backup: key single its newest version was made after its last export|key single was never/, qr/export_keyring/, 'newer than the export', db => 'lossy');
sql($node, q{INSERT INTO envcrypt.audit_log VALUES (clock_timestamp(), 'x', 'x', 'export_keyring', 'two', '{}')}, db => 'lossy');
one(qr/^warning backup: key single /, qr/export_keyring/, 'an export of another key', db => 'lossy');
sql($node, q{INSERT INTO envcrypt.audit_log VALUES (clock_timestamp(), 'x', 'x', 'export_keyring', 'single', '{}')}, db => 'lossy');
silent(qr/backup/, 'exported', db => 'lossy');
sql($node, q{INSERT INTO envcrypt.key_version SELECT '\x0102030405060708', key, 2, 'decrypt_only', false, algorithm, commitment, options, NULL, created_at, changed_at
	FROM envcrypt.key_version WHERE key = 'two'}, db => 'lossy');
one(qr/^critical keys: version 2 of key two has no wrap/, qr/import_keyring/, 'no wrap', db => 'lossy');
sql($node, q{INSERT INTO envcrypt.key_wrap SELECT '\x0102030405060708', root_key, wrapped, NULL
	FROM envcrypt.key_wrap JOIN envcrypt.key_version USING (kvid) WHERE key = 'two' AND root_key = 'local:second'}, db => 'lossy');
one(qr/^critical key_file: version 2 of key two local:second: the wrap is damaged/, qr/install -m 0600/, q{another version's wrap}, db => 'lossy');
silent(qr/version 1/, 'other versions', db => 'lossy');

# ---- the key file

sub file_case
{
	my ($name, $break, $what, $fix, $mend) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	silent(qr/key_file/, "$name, before");
	$break->();
	my $run = one($what, $fix, $name);
	$mend ? $mend->() : system_or_bail('sh', '-c', $run);
	silent(qr/key_file/, "$name, after");
	return;
}
file_case('mode', sub { chmod 0640, $file }, qr/^critical key_file: \Q$file\E .*open to group or others/, qr/^chmod 600 '\Q$file\E'$/);
file_case('folder', sub { chmod 0777, $dir }, qr/^critical key_file: .*can be written by others/, qr/^chmod go-w '\Q$dir\E'$/);
file_case('missing', sub { rename $file, "$file.away" }, qr/^critical key_file: \Q$file\E .* does not exist$/, qr/install -m 0600 PATH_OF_ITS_COPY '\Q$file\E'$/,
	sub { rename "$file.away", $file });
file_case('damaged', sub { rename $file, "$file.away"; append_to_file($file, '{'); chmod 0600, $file },
	qr/^critical key_file: \Q$file\E /, qr/PATH_OF_ITS_COPY/, sub { rename "$file.away", $file });
rename $file, "$file.away";
keygen($file, '--name', 'default');
is(scalar(matching(qr/^critical key_file: version 1 of key (pii|mail) local:default: .*; local:second: the key file has no root key/)),
	2, 'another key file opens nothing');
unlink $file;
system_or_bail('sh', '-c', "sed 's/\"second\"/\"third\"/' '$file.away' >'$file' && chmod 600 '$file'");
is(scalar(matching(qr/^warning key_file: version 1 of key (pii|mail) local:second: the key file has no root key/)),
	2, 'one root key less opens them still') or diag(shown(findings()));
rename "$file.away", $file;
silent(qr/key_file/, 'the right file');
sub set_key_file
{
	my ($path) = @_;
	$node->append_conf('postgresql.conf', "envcrypt.local_key_file = '$path'");
	$node->reload;
	return $node->poll_query_until('postgres', "SELECT current_setting('envcrypt.local_key_file') = '$path'");
}
my $inside = keygen($node->data_dir . '/keys.json', '--name', 'default');
set_key_file($inside);
one(qr/^critical key_file: \Q$inside\E .*inside the data directory/, qr/SET envcrypt.local_key_file/, 'place');
unlink $inside;
set_key_file("$dir/none.json");
sql($node, 'CREATE DATABASE fresh');
sql($node, 'CREATE EXTENSION envcrypt', db => 'fresh');
one(qr/^warning key_file: .* does not exist$/, qr/envcrypt keygen '\Q$dir\E\/none.json'$/, 'no file and no key', db => 'fresh');
set_key_file($file);
sleep 2;
keygen($file, '--add', '--name', 'third');
one(qr/^warning backup: \Q$file\E the key file has root keys of /, qr/note_copy/, 'changed since it was copied');
sql($node, q{SELECT note_copy('key_file', 'again')});
silent(qr/backup/, 'copied again');

# ---- columns

sql($node, 'CREATE TYPE pair AS (n int, v enc_bytea); CREATE DOMAIN sealed AS enc_bytea');
foreach (
	[ 'UNIQUE', 'CREATE TABLE t (v enc_bytea UNIQUE)', 'unique index t_v_key of table public.t' ],
	[ 'PRIMARY KEY', 'CREATE TABLE t (n int, v enc_bytea, PRIMARY KEY (n, v))', 'primary key t_pkey of table public.t' ],
	[ 'EXCLUDE', 'CREATE TABLE t (v enc_bytea, EXCLUDE USING hash (v WITH =))', 'exclusion constraint t_v_excl of table public.t' ],
	[ 'unique index', 'CREATE TABLE t (n int, v enc_bytea); CREATE UNIQUE INDEX u ON t (n) INCLUDE (v); DROP INDEX u; CREATE UNIQUE INDEX "U 1" ON t (v)', 'unique index "U 1" of table public.t' ],
	[ 'expression', 'CREATE TABLE t (v enc_bytea); CREATE UNIQUE INDEX u ON t ((v::bytea))', 'unique index u of table public.t' ],
	[ 'EXCLUDE of an expression', 'CREATE TABLE t (v enc_bytea, EXCLUDE USING hash ((v::bytea) WITH =))', 'exclusion constraint t_v_excl of table public.t' ],
	[ 'array', 'CREATE TABLE t (v enc_bytea[] UNIQUE)', 'unique index t_v_key of table public.t' ],
	[ 'row', 'CREATE TABLE t (v pair UNIQUE)', 'unique index t_v_key of table public.t' ],
	[ 'domain', 'CREATE TABLE t (v sealed UNIQUE)', 'unique index t_v_key of table public.t' ],
	[ 'FOREIGN KEY', 'CREATE TABLE d (v enc_bytea(deterministic) PRIMARY KEY); CREATE TABLE t (v enc_bytea REFERENCES d)', 'foreign key t_v_fkey of table public.t' ],
	[ 'partitions', 'CREATE TABLE t (v enc_bytea, UNIQUE (v)) PARTITION BY HASH (v); CREATE TABLE p PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0)', 'unique index t_v_key of table public.t' ])
{
	my ($name, $sql, $object) = @$_;
	my $what = qr/^warning columns: \Q$object\E stands on/;

	if ($name eq 'partitions')
	{
		sql($node, "$off $sql; $on");
		one($what, qr/ALTER TABLE/, $name);
		one(qr/^warning columns: partition key/, qr/PARTITION BY another column/, 'partition key');
	}
	else
	{
		provoke($name, "$off $sql; $on", $what, qr/ALTER TABLE|DROP INDEX/);
	}
	sql($node, 'DROP TABLE t; DROP TABLE IF EXISTS d');
}
sql($node, "$off CREATE TABLE t (v enc_bytea) PARTITION BY HASH ((v::bytea)); $on");
one(qr/^warning columns: partition key .*: v$/, qr/PARTITION BY another column/, 'partition key of an expression');
sql($node, 'DROP TABLE t; CREATE TABLE t (v enc_bytea) PARTITION BY LIST ((v IS NULL))');
sql($node, q{CREATE TABLE fine (n int UNIQUE, e enc_bytea(deterministic) UNIQUE, v enc_bytea);
	CREATE UNIQUE INDEX ON fine (n) WHERE v IS NOT NULL; CREATE UNIQUE INDEX ON fine ((v IS NULL), n); CREATE INDEX ON fine USING hash (v); CREATE INDEX ON fine (v)});
silent(qr/columns/, 'deterministic, included and not unique');

# ---- what stores opened values

sql($node, q{
	CREATE FUNCTION peek(enc_bytea) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT envcrypt.decrypt($1)';
	CREATE FUNCTION glance(enc_bytea) RETURNS text IMMUTABLE LANGUAGE sql RETURN lower(envcrypt.decrypt($1));
	CREATE TABLE s (n int, v enc_bytea);
	CREATE VIEW opened AS SELECT n, decrypt(v) AS v FROM s;
	CREATE VIEW over AS SELECT v FROM opened});
silent(qr/columns/, 'views and functions');
provoke($_->[0], $_->[1], qr/^warning columns: \Q$_->[2]\E /, qr/^(DROP|ALTER)/)
  foreach [ 'index', 'CREATE INDEX i ON s (peek(v))', 'index public.i' ],
	[ 'index by a SQL body', 'CREATE INDEX i ON s (glance(v))', 'index public.i' ],
	[ 'partial index', q{CREATE INDEX i ON s (n) WHERE peek(v) = 'x'}, 'index public.i' ],
	[ 'statistics', 'CREATE STATISTICS "st 1" ON n, peek(v) FROM s', 'statistics "st 1" of table public.s' ],
	[ 'generated', 'CREATE TABLE g (v enc_bytea, "P" text GENERATED ALWAYS AS (peek(v)) STORED)', 'column "P" of table public.g' ],
	[ 'constraint', q{ALTER TABLE s ADD CONSTRAINT c CHECK (decrypt(v) <> '')}, 'constraint c of table public.s' ],
	[ 'materialized view', 'CREATE MATERIALIZED VIEW m AS SELECT decrypt(v) FROM s WITH NO DATA', 'materialized view public.m' ],
	[ 'materialized view of a view', 'CREATE MATERIALIZED VIEW m AS SELECT * FROM over WITH NO DATA', 'materialized view public.m' ];

# ---- publications and roles

provoke("publication of $_->[0]", "SET client_min_messages = error; CREATE PUBLICATION p $_->[1]", qr/^notice publications: publication p carries .*envcrypt\.key_grant/, $_->[2],
	after => 'DROP PUBLICATION p')
  foreach [ 'tables', 'FOR TABLE envcrypt.key_grant, s', qr/^ALTER PUBLICATION p DROP TABLE envcrypt.key_grant;$/ ],
	[ 'a schema', 'FOR TABLES IN SCHEMA envcrypt', qr/^ALTER PUBLICATION p DROP TABLES IN SCHEMA envcrypt;$/ ];
sql($node, 'SET client_min_messages = error; CREATE PUBLICATION p FOR ALL TABLES');
one(qr/^notice publications: publication p carries .*envcrypt\.key_version/, qr/on this side only/, 'publication of all tables');
sql($node, 'SET client_min_messages = error; DROP PUBLICATION p; CREATE PUBLICATION p FOR TABLE s');
silent(qr/publications/, 'publication of other tables');
provoke($_, "GRANT $_ TO app", qr/^warning roles: role app is a member of $_$/, qr/^REVOKE $_ FROM app;$/)
  foreach qw(pg_read_server_files pg_write_server_files pg_execute_server_program);
sql($node, 'CREATE ROLE boss SUPERUSER; GRANT pg_read_server_files TO boss');
silent(qr/roles/, 'superusers may all the same');
provoke('a role envcrypt', 'CREATE ROLE envcrypt', qr/^warning roles: role envcrypt has the name/, qr/RENAME/);

# ---- memory

my $limits = "Max core file size        %s              unlimited            bytes     \nMax locked memory         %s              8388608              bytes     \n";
my $swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
sub memory
{
	my ($core, $lock, $swap, $preload) = @_;
	my $text = defined $core ? "E'" . sprintf($limits, $core, $lock) . "'" : 'NULL';
	return sql($node, "SELECT severity, object, what, fix FROM envcrypt.check_memory($text, E'$swaps$swap', '$preload')");
}
is(memory(0, 8388608, '', 'envcrypt'), '', 'memory: all is well');
is(memory(0, 'unlimited', "/dev/zram0\tpartition\t1\t0\t-2\n", 'x, "envcrypt"'), '', 'memory: nor with swap to memory');
is(memory(undef, 0, '', '$libdir/envcrypt'), '', 'memory: nor where there is no such file');
like(memory('unlimited', 'unlimited', '', 'envcrypt'), qr/^warning\|core dumps\|are enabled, up to unlimited bytes\|.*LimitCORE=0/, 'core dumps');
like(memory(0, 65536, '', 'envcrypt'), qr/^notice\|locked memory\|is limited to 65536 bytes\|.*LimitMEMLOCK/, 'locked memory');
like(memory(0, 1048576, "/dev/dm-77                 partition\t8\t0\t-2\n", 'envcrypt'), qr/^warning\|swap \/dev\/dm-77\|.*swapoff \/dev\/dm-77/, 'swap');
like(memory(0, 1048576, '', 'a, b_envcrypt'), qr/^notice\|shared_preload_libraries\|.*= 'a', 'b_envcrypt', 'envcrypt'; then restart/, 'not preloaded');
SKIP:
{
	my $pid = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : 0;
	skip 'no prlimit', 2 if system("prlimit --pid $pid --core=0: 2>/dev/null") != 0;
	is(shown(grep { $_->{object} eq 'core dumps' } findings(all => 1)), '', 'core dumps of this server: off');
	skip 'core limit cannot be raised', 1 if system("prlimit --pid $pid --core=4096: 2>/dev/null") != 0;
	is(scalar(grep { $_->{object} eq 'core dumps' } findings(all => 1)), 1, 'core dumps of this server: on');
	system("prlimit --pid $pid --core=0:");
}

# ---- a standby

sql($node, 'SELECT disable_key(\'mail\'); CREATE ROLE envcrypt');
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(shown(findings(node => $standby)), shown(findings()), 'a standby says the same');
cmp_ok(scalar(findings(node => $standby)), '>=', 2, 'which is something');
fails_with($standby, '25006', q{SELECT note_copy('export', 'x')}, 'and notes nothing');
$standby->stop;
sql($node, 'DROP ROLE envcrypt');

# ---- the command-line tool

sub tool
{
	my (@args) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ $ENV{ENVCRYPT_CLI}, 'check', @args ], '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}
my @here = ('--dbname', $node->connstr('postgres'));
my @lossy = ('--dbname', $node->connstr('lossy'));
my @other = ('--dbname', $node->connstr('template1'));
my ($status, $out, $err) = tool(@here);
SKIP:
{
	# what the machine does not do well is no fault of the tool's
	skip 'findings about memory', 2 if grep { $_->{area} eq 'memory' && $_->{severity} ne 'notice' } findings(all => 1);
	is($status, 0, 'tool: notices are status 0') or diag("$out$err");
	sql($node, q{SELECT enable_key('mail')});
	like((tool(@here))[1], qr/\Ano findings in database postgres\n\z|memory/, 'tool: no findings');
}
like($out, qr/^database postgres\nnotice    keys          key mail\n    what: is disabled\n    why:  .*\n    fix:  SELECT envcrypt.enable_key\('mail'\);\n/m, 'tool: a finding');
is($err, '', 'tool: and nothing else');
sql($node, qq{CREATE ROLE "a\e[2Jb\nc" IN ROLE pg_read_server_files});
($status, $out, $err) = tool(@here);
is($status, 1, 'tool: a warning is status 1');
like($out, qr/^warning   roles         role "a \[2Jb c"$/m, 'tool: no control characters');
is((tool(@lossy))[0], 2, 'tool: a critical finding is status 2');
is((tool(@lossy, @here))[0], 2, 'tool: the worst of several, in one order');
($status, $out, $err) = tool(@here, @lossy);
is($status, 2, 'tool: and the other');
like($out, qr/^database postgres\n.*^database lossy\n/ms, 'tool: each by its name');
($status, $out, $err) = tool(@other, @here);
is($status, 3, 'tool: a database without the extension is status 3');
like($err, qr/envcrypt/, 'tool: and says so');
like($out, qr/^database postgres$/m, 'tool: the others are looked at all the same');
is((tool('--dbname', 'host=/nowhere'))[0], 3, 'tool: no server');
is((tool('--psql', '/nowhere/psql', @here))[0], 3, 'tool: no psql');
is((tool('--psql', '/bin/true', @here))[0], 3, 'tool: no answer');
is((tool(@$_))[0], 3, "tool: @$_") foreach [ '--json' ], [ 'postgres' ], [ '--dbname' ];
is((tool('--dbname', $node->connstr('postgres') . ' user=app'))[0], 3, 'tool: a role that may not');
is((tool('-d', $node->connstr('postgres') . ' user=mon'))[0], 1, 'tool: a member of pg_monitor');

done_testing();
