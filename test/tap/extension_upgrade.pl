# extension_upgrade.pl: install scripts, one a version.  Whatever version a
# database began with, after ALTER EXTENSION UPDATE its schema is that of a
# fresh install and its values are read.  A new script needs no change here.

use strict;
use warnings FATAL => 'all';

use EnvcryptFixture;
use EnvcryptTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('main');
my $listing = schema_listing($node, 'postgres');

sql($node, q{CREATE ROLE app; CREATE ROLE "Keeper ""2"""});

# ---- the files

# Versions with a script of their own, and those that a step leads to.
my %base = map { m{envcrypt--([^-]+)\.sql$} ? ($1 => 1) : () } glob 'sql/envcrypt--*.sql';
my %step = map { m{--([^-]+)--([^-]+)\.sql$} ? ($2 => $1) : () } glob 'sql/envcrypt--*--*.sql';
my ($default) = slurp_file('envcrypt.control') =~ /^default_version = '(.+)'$/m;
my @versions = sort keys %{ { %base, %step } };

ok(scalar(keys %base), 'there is a base script');
ok((grep { $_ eq $default } @versions) == 1, "a script leads to the default version $default");
is(sql($node, q{SELECT extversion FROM pg_extension WHERE extname = 'envcrypt'}),
	$default, 'CREATE EXTENSION installs it');

# ---- updates

# A dump says CREATE EXTENSION without a version: what an earlier version
# dumped is restored under the default one.
sub dump_of
{
	my ($db, $before, $name, @columns) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

	sql($node, 'CREATE DATABASE restored');
	command_ok([ 'pg_dump', '-d', $node->connstr($db), '-f', $file ], "$name: dump");
	command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $file ],
		"$name: the dump goes into a fresh install");
	same_database($node, 'restored', $before, "$name: dump", @columns);
	sql($node, 'DROP DATABASE restored');
	return;
}

foreach my $version (@versions)
{
	(my $db = "from_$version") =~ tr/./_/;

	sql($node, "CREATE DATABASE $db");
	sql($node, qq{CREATE EXTENSION envcrypt VERSION '$version';
		ALTER DATABASE $db SET search_path = public, envcrypt}, db => $db);
	fill_database($node, $db);
	my @columns = (key_columns => key_columns($node, $db));
	my $before = snapshot($node, $db, @columns);
	dump_of($db, $before, "from $version", @columns);
	sql($node, 'ALTER EXTENSION envcrypt UPDATE', db => $db);
	same_schema($node, $db, $listing, "from $version: the schema is that of a fresh install");
	same_database($node, $db, $before, "from $version", @columns);
	guards_work($node, $db, "from $version");
	values_usable($node, $db, "from $version");
	sql($node, 'ALTER EXTENSION envcrypt UPDATE', db => $db);
	same_schema($node, $db, $listing, "from $version: a second update changes nothing");
	sql($node, "DROP DATABASE $db");
}

# The comparison itself must see a difference.
sub differs
{
	my ($change, $what) = @_;
	my $before = schema_listing($node, 'postgres');

	sql($node, $change);
	return ok(schema_listing($node, 'postgres') ne $before, "the comparison sees $what");
}

# ---- what the schema promises

my $functions = q{SELECT p.oid::regprocedure::text AS f, p.* FROM pg_proc p
	WHERE pronamespace = 'envcrypt'::regnamespace};

sub none
{
	my ($query, $name) = @_;
	return is(sql($node, "SET search_path = pg_catalog; SELECT f FROM ($functions) p WHERE $query ORDER BY 1"),
		'', $name);
}

none(q{prosecdef AND proname <> 'check'}, 'no function but check() is SECURITY DEFINER');
none(q{prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') AND proconfig IS NULL},
	'every function is C or sets its search_path');
none(q{obj_description(oid, 'pg_proc') IS NULL}, 'every function has a comment');
none(q{proleakproof AND proname NOT IN ('enc_bytea_eq', 'enc_bytea_ne')}, 'only = and <> are LEAKPROOF');
none(q{NOT proleakproof AND proname IN ('enc_bytea_eq', 'enc_bytea_ne')}, '= and <> are LEAKPROOF');
none(q{proname ~ '^encrypt' AND proname <> 'encrypt_trigger'
		AND (provolatile, proparallel, proisstrict) <> ('v', 's', false)},
	'encrypt functions are VOLATILE, PARALLEL SAFE, called on NULL');
none(q{proname ~ '^(try_)?decrypt|^search_terms|^enc_info'
		AND (provolatile, proparallel, proisstrict) <> ('s', 's', false)},
	'functions that open or search are STABLE, PARALLEL SAFE, called on NULL');
none(q{proname ~ '^(enc_bytea|enc_context)' AND proname !~ 'typanalyze|support'
		AND (provolatile, proparallel) <> (CASE WHEN proargtypes[0] = '"any"'::regtype THEN 's'::"char" ELSE 'i' END, 's')},
	'functions of the type are IMMUTABLE, PARALLEL SAFE');
none(q{proname ~ '^((try_)?decrypt|encrypt|search_terms|enc_info)' AND proname <> 'encrypt_trigger' AND procost < 30},
	'functions that use a key have a COST');
none(q{proname ~ '_key(ring)?$' AND (provolatile, proparallel) <> ('v', 'u')}, 'administration is VOLATILE, PARALLEL UNSAFE');
my $PRIVATE = q{(proname ~ '_key(ring)?$|guard|^check|^(note_copy|key_file_status|wrap_problems|may_be_random)$')};
none(qq{$PRIVATE AND has_function_privilege('app', oid, 'EXECUTE')},
	'EXECUTE on administration and guards is not for PUBLIC');
none(qq{NOT $PRIVATE AND NOT has_function_privilege('app', oid, 'EXECUTE')},
	'EXECUTE on everything else is');
none(q{proname = 'encrypt' AND pronargs = 3}, q{there is no three-argument encrypt to take pgcrypto's calls});
none(q{pronargdefaults > 0 AND proname !~ '_key(ring)?$'}, 'a context is never a default');

is(sql($node, q{SELECT count(*) >= 5 FROM pg_proc WHERE pronamespace = 'envcrypt'::regnamespace AND proname ~ '_key(ring)?$'}),
	't', 'administration functions were found');
is(sql($node, q{SELECT string_agg(t.relname, ',') FROM pg_class t WHERE relnamespace = 'envcrypt'::regnamespace
		AND relkind = 'r' AND has_any_column_privilege('app', oid, 'SELECT, INSERT, UPDATE, REFERENCES')}),
	'', 'tables are not readable by PUBLIC');
is(sql($node, q{SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = 'envcrypt'::regnamespace
		AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL}),
	'', 'every table and view has a comment');
is(sql($node, q{SELECT string_agg(relname, ',') FROM pg_class c WHERE relnamespace = 'envcrypt'::regnamespace
		AND relkind = 'r' AND NOT c.oid = ANY (SELECT unnest(extconfig) FROM pg_extension)}),
	'', 'every table is dumped');
is(sql($node, q{SELECT string_agg(relname, ',') FROM pg_class
		WHERE relnamespace = 'envcrypt'::regnamespace AND relkind = 'S'}),
	'', 'there is no sequence');
is(sql($node, q{SELECT string_agg(attrelid::regclass || '.' || attname, ',') FROM pg_attribute
		JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace = 'envcrypt'::regnamespace AND relkind = 'r' AND attnum > 0
		AND format_type(atttypid, NULL) ~ '^reg'}),
	'', 'no column of a dumped table is a reg* type');
like(slurp_file('envcrypt.control'), qr/^$_$/m, "control file: $_")
  foreach 'relocatable = false', 'trusted = false', 'superuser = true', 'schema = pg_catalog';
fails_with($node, '0A000', 'ALTER EXTENSION envcrypt SET SCHEMA public', 'it cannot be moved to another schema');
sql($node, 'CREATE DATABASE apps OWNER app; ALTER ROLE app LOGIN');
fails_with($node, '42501', 'CREATE EXTENSION envcrypt', 'the owner of a database cannot install it',
	db => 'apps', user => 'app');
is(sql($node, q{SELECT amname FROM pg_opclass o JOIN pg_am a ON a.oid = opcmethod
		WHERE opcnamespace = 'envcrypt'::regnamespace AND opcdefault ORDER BY 1}),
	"btree\nhash", 'default operator classes');

# Last, because they change it.
differs(q{ALTER FUNCTION envcrypt.decrypt(envcrypt.enc_bytea) COST 31}, 'a cost');
differs(q{REVOKE EXECUTE ON FUNCTION envcrypt.enc_info(envcrypt.enc_bytea) FROM PUBLIC}, 'a privilege');
differs(q{COMMENT ON VIEW envcrypt.keys IS 'other'}, 'a comment');

done_testing();
