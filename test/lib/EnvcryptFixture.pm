# EnvcryptFixture.pm: a database with sealed values in every place a dump, an
# upgrade or a replica could damage, and what must be the same afterwards.
package EnvcryptFixture;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use EnvcryptTest;
use Test::More;

our @EXPORT = qw(fill_database key_columns snapshot same_database guards_work values_usable
  schema_listing same_schema same_text quoted_grants);

# ---- the database

my $KEYS = q{
	SELECT create_key('pii'), create_key('mail', 'aes-256-siv'),
		create_key('odd', label => 'opaque-7'), create_key('off');
	CREATE ROLE gone;
	SELECT grant_key('pii', 'public', '{decrypt}'), grant_key('pii', 'app'),
		grant_key('mail', 'app'), grant_key('odd', 'Keeper "2"', '{manage}'),
		grant_key('odd', 'gone');
	DROP ROLE gone;
};

# aaa sorts before envcrypt, so a dump makes and fills its tables first.  Not
# here: a domain whose CHECK casts to bytea, since pg_upgrade makes domains
# before casts; a primary key of a partitioned table, which pg_dump --clean of
# PostgreSQL 15 cannot drop.
my $TABLES = q{
	CREATE SCHEMA aaa;
	CREATE SCHEMA zzz;
	CREATE TYPE aaa.pair AS (n integer, v enc_bytea);
	CREATE DOMAIN aaa.sealed AS enc_bytea
		CHECK (octet_length(enc_bytea_send(VALUE)) >= 28);
	CREATE TABLE aaa.person (
		id integer PRIMARY KEY,
		email enc_bytea(deterministic) UNIQUE,
		note enc_bytea,
		bound enc_bytea,
		tags enc_bytea[],
		pair aaa.pair,
		sealed aaa.sealed,
		photo enc_bytea,
		extra enc_bytea DEFAULT encrypt('x', 'pii'));
	CREATE INDEX person_note ON aaa.person USING hash (note);
	CREATE TABLE zzz.orders (
		id integer PRIMARY KEY,
		email enc_bytea(deterministic) NOT NULL REFERENCES aaa.person (email),
		amount enc_bytea);
	CREATE INDEX orders_email ON zzz.orders (email);
	CREATE TABLE letters (email enc_bytea(deterministic), n integer, body enc_bytea)
		PARTITION BY HASH (email);
	CREATE TABLE letters_0 PARTITION OF letters (PRIMARY KEY (email, n))
		FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE letters_1 PARTITION OF letters (PRIMARY KEY (email, n))
		FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE TABLE customer (
		id integer PRIMARY KEY, name_plain text, name enc_bytea NOT NULL);
	CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customer FOR EACH ROW
		EXECUTE FUNCTION encrypt_trigger('name_plain', 'name', 'pii', '=customer.name', 'id');
	CREATE VIEW zzz.people AS
		SELECT id, decrypt(email) AS email, decrypt(note) AS note FROM aaa.person;
	CREATE MATERIALIZED VIEW zzz.emails AS SELECT email FROM aaa.person;
	GRANT USAGE ON SCHEMA aaa, zzz TO app;
	GRANT SELECT ON ALL TABLES IN SCHEMA aaa, zzz, public TO app;
	ALTER TABLE letters OWNER TO app;
};

# Row 1 is empty values, row 2 NULLs, row 3 a value that is stored out of line.
my $ROWS = q{
	INSERT INTO aaa.person
	SELECT i, encrypt('p' || i || '@example.org', 'mail'),
		encrypt(CASE i WHEN 1 THEN '' WHEN 2 THEN NULL ELSE U&'Zo\00eb ' || i END, 'pii'),
		encrypt_bound('bound ' || i, 'odd', enc_context('person', i::text)),
		CASE WHEN i <> 2 THEN ARRAY[encrypt('a', 'pii'), NULL, encrypt('', 'mail')] END,
		CASE WHEN i <> 2 THEN (i, encrypt(i * 1.5, 'pii'))::aaa.pair END,
		encrypt('off ' || i, 'off'),
		encrypt_bytea(decode(repeat('00ff', CASE i WHEN 3 THEN 20000 ELSE 2 END), 'hex'), 'pii')
	FROM generate_series(1, 40) i;
	INSERT INTO aaa.person (id, email) VALUES (41, NULL);
	INSERT INTO zzz.orders
	SELECT i, encrypt('p' || i % 40 + 1 || '@example.org', 'mail'), encrypt(i * 10, 'pii')
	FROM generate_series(1, 50) i;
	INSERT INTO letters
	SELECT encrypt('p' || i || '@example.org', 'mail'), i, encrypt('body ' || i, 'pii')
	FROM generate_series(1, 30) i;
	INSERT INTO customer (id, name_plain) SELECT i, 'name ' || i FROM generate_series(1, 20) i;
	REFRESH MATERIALIZED VIEW zzz.emails;
	SELECT disable_key('off');
};

# fill_database(NODE, DB): needs the extension there, and the roles.
sub fill_database
{
	my ($node, $db) = @_;

	sql($node, $_, db => $db) foreach $KEYS, $TABLES, $ROWS;
	return;
}

# ---- what must not change

# Every stored byte and every plaintext.
my @PERSON = (
	[ 'bytes of person', q{SELECT id, md5(p::text) FROM aaa.person p ORDER BY id} ],
	[ 'plaintexts of person', q{SELECT id, envcrypt.decrypt(email), envcrypt.decrypt(note),
			envcrypt.decrypt(bound, envcrypt.enc_context('person', id::text)),
			(SELECT array_agg(envcrypt.decrypt(t)) FROM unnest(tags) t),
			envcrypt.decrypt_as((pair).v, NULL::numeric),
			md5(envcrypt.decrypt_bytea(photo)), envcrypt.decrypt(extra)
		FROM aaa.person ORDER BY id} ]);
my @ELSEWHERE = (
	[ 'orders', q{SELECT o.*, envcrypt.decrypt(email), envcrypt.decrypt_as(amount, NULL::integer)
		FROM zzz.orders o ORDER BY id} ],
	[ 'letters', q{SELECT tableoid::regclass, l.*, envcrypt.decrypt(email), envcrypt.decrypt(body)
		FROM public.letters l ORDER BY n} ],
	[ 'customer', q{SELECT c.*, envcrypt.decrypt(name, envcrypt.enc_context('customer.name', id::text))
		FROM public.customer c ORDER BY id} ],
	[ 'views', q{SELECT p.*, email FROM zzz.people p ORDER BY id} ],
	[ 'matview', q{SELECT email FROM zzz.emails ORDER BY email} ]);

# The tables' columns, constraints, indexes and triggers.
my @OBJECTS = (
	[ 'constraints', q{SELECT conrelid::regclass, conname, convalidated, pg_get_constraintdef(c.oid)
		FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace
		WHERE nspname IN ('aaa', 'zzz', 'public') ORDER BY conrelid::regclass::text, conname} ],
	[ 'indexes', q{SELECT indexrelid::regclass, indisvalid, pg_get_indexdef(indexrelid)
		FROM pg_index JOIN pg_class c ON c.oid = indrelid JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname IN ('aaa', 'zzz', 'public') ORDER BY indexrelid::regclass::text} ],
	[ 'columns', q{SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod),
			pg_get_expr(adbin, adrelid)
		FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
			JOIN pg_namespace n ON n.oid = relnamespace
			LEFT JOIN pg_attrdef d ON adrelid = attrelid AND adnum = attnum
		WHERE attnum > 0 AND nspname IN ('aaa', 'zzz', 'public') ORDER BY attrelid::regclass::text, attnum} ],
	[ 'trigger', q{SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger
		WHERE tgfoid = 'envcrypt.encrypt_trigger'::regproc ORDER BY 1} ]);

# One psql for many queries.
sub ask
{
	my ($node, $db, @queries) = @_;
	return sql($node, join("\n", 'SET search_path = pg_catalog;', map { "\\echo -- $_->[0]\n$_->[1];" } @queries),
		db => $db);
}

# key_columns(NODE, DB): the columns of the key tables, which a later version
# of the extension may add to.
sub key_columns
{
	my ($node, $db) = @_;
	return sql($node, q{SELECT relname || ' ' || string_agg(quote_ident(attname), ', ' ORDER BY attnum)
		FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE attnum > 0 AND relkind = 'r' AND relnamespace = 'envcrypt'::regnamespace
		GROUP BY relname ORDER BY 1}, db => $db);
}

# snapshot(NODE, DB): all that must not change, as text.
#	only => 'person': that table only
#	key_columns => ..: no others, and not the extension's own schema
sub snapshot
{
	my ($node, $db, %o) = @_;
	return ask($node, $db, @PERSON) if ($o{only} // '') eq 'person';

	my @rows = map { /^(\S+) (.*)/ ? [ $1, "SELECT ($2)::text FROM envcrypt.$1 ORDER BY 1" ] : () }
	  split /\n/, $o{key_columns} // key_columns($node, $db);
	return ask($node, $db, @rows, @PERSON, @ELSEWHERE, @OBJECTS)
	  . ($o{key_columns} ? '' : schema_listing($node, $db));
}

# One test; the first line that differs is shown, not megabytes of them.
sub same_text
{
	my ($got, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ok = ok($got eq $expected, $name);
	return $ok if $ok;

	my @got = split /\n/, $got;
	my @expected = split /\n/, $expected;
	foreach my $i (0 .. ($#got > $#expected ? $#got : $#expected))
	{
		my ($g, $e) = map { defined $_ ? substr($_, 0, 300) : '(end)' } ($got[$i], $expected[$i]);
		next if $g eq $e && ($got[$i] // '') eq ($expected[$i] // '');
		diag("line $i\n  got      $g\n  expected $e");
		last;
	}
	return $ok;
}

# same_database(NODE, DB, SNAPSHOT, NAME, options of snapshot())
sub same_database
{
	my ($node, $db, $expected, $name, @options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	same_text(snapshot($node, $db, @options), $expected, "$name: every byte, value, constraint and trigger");
	return is(
		sql($node, q{SELECT count(*) >= 10, string_agg(DISTINCT tgenabled, '') FROM pg_trigger
			WHERE tgfoid = 'envcrypt.key_table_guard'::regproc}, db => $db),
		't|A', "$name: triggers of the key tables are ALWAYS");
}

# guards_work(NODE, DB, NAME): one test of what keeps keys.
sub guards_work
{
	my ($node, $db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @got = map { sqlstate($node, $_, db => $db) } (
		'DELETE FROM envcrypt.key',
		"UPDATE envcrypt.key_version SET state = 'destroyed'",
		'SET session_replication_role = replica; DELETE FROM envcrypt.key_wrap',
		'TRUNCATE envcrypt.audit_log',
		'DROP EXTENSION envcrypt CASCADE',
		'DROP SCHEMA envcrypt CASCADE',
		'CREATE UNIQUE INDEX ON aaa.person (note)');

	return is("@got", '42501 42501 42501 42501 55000 2BP01 0A000', "$name: guards hold");
}

# values_usable(NODE, DB, NAME): everything about the tables still works; all
# is rolled back.
sub values_usable
{
	my ($node, $db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $mail = q{envcrypt.encrypt('p7@example.org', 'mail')};
	my @got = map { sqlstate($node, $_, db => $db) } (
		"INSERT INTO aaa.person (id, email) VALUES (100, $mail)",
		"INSERT INTO zzz.orders VALUES (100, envcrypt.encrypt('nobody', 'mail'))",
		"INSERT INTO public.letters VALUES ($mail, 7)",
		"SELECT envcrypt.decrypt(sealed) FROM aaa.person");

	is("@got", '23505 23503 23505 55000', "$name: unique, foreign key and disabled key hold");
	return is(
		sql($node, qq{
			BEGIN;
			INSERT INTO aaa.person (id) VALUES (100);
			SELECT envcrypt.decrypt(extra) FROM aaa.person WHERE id = 100;
			INSERT INTO public.customer (id, name_plain) VALUES (100, 'new');
			SELECT name_plain IS NULL, envcrypt.decrypt(name, envcrypt.enc_context('customer.name', '100'))
				FROM public.customer WHERE id = 100;
			SELECT id FROM aaa.person
				WHERE email = ANY (envcrypt.search_terms('p7\@example.org', 'mail'));
			SELECT count(*) FROM public.letters WHERE email = $mail;
			SELECT 'made' FROM envcrypt.create_key('later');
			ROLLBACK;
		}, db => $db),
		"x\nt|new\n7\n1\nmade", "$name: default, trigger, search and create_key work");
}

# The statement of docs/operations.md that prints the calls which repeat
# inert grants.
sub quoted_grants
{
	return q{SELECT format('SELECT envcrypt.grant_key(%L, %L, %L)', key, grantee, privileges)
		FROM envcrypt.grants
		WHERE NOT active AND grantee IN (SELECT rolname FROM pg_roles)};
}

# ---- the extension's own schema, without OIDs

my $MEMBERS = q{SELECT classid, objid FROM pg_depend
	WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'envcrypt')};

# An acl as sorted text; NULL is what the owner and PUBLIC have by default.
sub acl
{
	my ($acl, $kind, $owner) = @_;
	return qq{(SELECT string_agg(a::text, ',' ORDER BY a::text COLLATE "C")
		FROM unnest(coalesce($acl, acldefault('$kind', $owner))) a)};
}

my @LISTING = (
	[ 'members', qq{SELECT pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name)
		FROM ($MEMBERS) m ORDER BY 1} ],
	[ 'functions', qq{SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), prosecdef, proleakproof,
			procost, provolatile, proparallel, proisstrict, } . acl('proacl', 'f', 'proowner') . qq{
		FROM pg_proc p JOIN ($MEMBERS) m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass ORDER BY 1} ],
	[ 'relations', qq{SELECT c.oid::regclass::text, relkind, reloptions, relpersistence, relrowsecurity,
			} . acl('relacl', 'r', 'relowner') . qq{, CASE relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END
		FROM pg_class c WHERE relnamespace = 'envcrypt'::regnamespace ORDER BY 1} ],
	[ 'columns', q{SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod),
			attnotnull, attstorage, attcollation::regcollation, pg_get_expr(adbin, adrelid),
			col_description(attrelid, attnum)
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'envcrypt'::regnamespace)
		ORDER BY 1, 2} ],
	[ 'constraints', q{SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid)
		FROM pg_constraint WHERE connamespace = 'envcrypt'::regnamespace ORDER BY 1, 2} ],
	[ 'indexes', q{SELECT indexrelid::regclass::text, indisvalid, indisprimary, pg_get_indexdef(indexrelid)
		FROM pg_index JOIN pg_class c ON c.oid = indexrelid
		WHERE relnamespace = 'envcrypt'::regnamespace ORDER BY 1} ]);

my @LISTING_MORE = (
	[ 'triggers', q{SELECT pg_get_triggerdef(oid), tgenabled FROM pg_trigger
		WHERE tgfoid = 'envcrypt.key_table_guard'::regproc ORDER BY 1} ],
	[ 'event triggers', q{SELECT evtname, evtevent, evtenabled, evttags, evtfoid::regproc
		FROM pg_event_trigger ORDER BY 1} ],
	[ 'types', q{SELECT typname, typlen, typtype, typcategory, typinput, typoutput, typreceive, typsend,
			typmodin, typmodout, typanalyze, typalign, typstorage, typcollation, typacl
		FROM pg_type WHERE typnamespace = 'envcrypt'::regnamespace ORDER BY 1} ],
	[ 'operators', q{SELECT oid::regoperator::text, oprcanmerge, oprcanhash, oprcom::regoperator,
			oprnegate::regoperator, oprcode, oprrest, oprjoin
		FROM pg_operator WHERE oprnamespace = 'envcrypt'::regnamespace ORDER BY 1} ],
	[ 'operator classes', q{SELECT amname, opcname, opcintype::regtype, opcdefault,
			(SELECT string_agg(amopstrategy || amopopr::regoperator::text, ' ' ORDER BY amopstrategy)
				FROM pg_amop WHERE amopfamily = opcfamily),
			(SELECT string_agg(amprocnum || amproc::text, ' ' ORDER BY amprocnum)
				FROM pg_amproc WHERE amprocfamily = opcfamily)
		FROM pg_opclass JOIN pg_am a ON a.oid = opcmethod
		WHERE opcnamespace = 'envcrypt'::regnamespace ORDER BY 1, 2} ],
	[ 'casts', q{SELECT castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod
		FROM pg_cast WHERE 'envcrypt.enc_bytea'::regtype IN (castsource, casttarget) ORDER BY 1, 2} ],
	[ 'extension', q{SELECT extrelocatable, extnamespace::regnamespace, extversion, extcondition,
			(SELECT array_agg(c::regclass) FROM unnest(extconfig) c)
		FROM pg_extension WHERE extname = 'envcrypt'} ],
	[ 'schema', q{SELECT nspname, (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(nspacl) a)
		FROM pg_namespace WHERE nspname = 'envcrypt'} ],
	[ 'initial privileges', q{SELECT pg_describe_object(classoid, objoid, objsubid), privtype,
			(SELECT string_agg(a::text, ',' ORDER BY a::text COLLATE "C") FROM unnest(initprivs) a)
		FROM pg_init_privs WHERE privtype = 'e' ORDER BY 1} ]);

# What \dx+ and psql's other commands would tell of the extension, as text that
# is the same for the same schema.
sub schema_listing
{
	my ($node, $db) = @_;

	return ask($node, $db, @LISTING, @LISTING_MORE);
}

# same_schema(NODE, DB, LISTING, NAME)
sub same_schema
{
	my ($node, $db, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return same_text(schema_listing($node, $db), $expected, $name);
}

1;
