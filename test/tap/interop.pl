# Two implementations of docs/envelope.md and docs/keys.md, made apart from each
# other, agree: the server, and test/interop/envelope.py.  They exchange 10,000
# values each way; the Python one has the key file and the catalog's rows, and
# derives the keys itself.
use strict;
use warnings FATAL => 'all';

use File::Copy;
use PostgreSQL::Test::Utils;
use Test::More;

use EnvcryptTest;

# the system's, for which Debian has the package
my $python = '/usr/bin/python3';
my $seed = $ENV{ENVCRYPT_SEED} // int(rand(2**31));

if (run_log([ $python, '-c', 'import cryptography' ]))
{
	note("seed $seed (ENVCRYPT_SEED repeats it)");
}
else
{
	fail("$python has the package cryptography (make setup installs python3-cryptography)");
	done_testing();
	exit;
}

# Run a Python program; its lines "ok - .." and "not ok - .." are tests.
sub python
{
	my ($name, @args) = @_;
	my ($out, $err) = run_command([ $python, '-B', "test/interop/$name", @args ]);

	for my $line (split /\n/, $out)
	{
		ok($1 eq 'ok', $2) if $line =~ /^(ok|not ok) - (.*)/;
	}
	is($err, '', "$name $args[0] runs");
	return $out;
}

like(python('envelope.py', '--vectors', 'docs/envelope.md', 'docs/keys.md'),
	qr/^\d\d+ strings compared, 0 wrong$/, 'every vector that the pages print');

# ---- keys: two root keys, and a label that is not the name

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $keys = keygen("$dir/root-keys.json");
keygen($keys, '--add', '--name', 'second:A/b@c');

my $node = new_cluster('interop', conf => "envcrypt.local_key_file = '$keys'\n",
	init => { extra => [ '--encoding=UTF8', '--no-locale' ] });

sql($node, q{
	SELECT create_key('r', label => 'Label:of.r/_-@');
	SELECT create_key('d', 'aes-256-siv', root_keys => '{local:default,local:second:A/b@c}');
	CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LOCALE 'C';
});
EnvcryptTest::install($node, 'latin');
sql($node, q{SELECT create_key('l')}, db => 'latin');

# Rows of a query to a CSV file: \copy takes one line.
sub copy_out
{
	my ($query, $file, %o) = @_;
	$query =~ s/\s+/ /g;
	sql($node, "SET client_encoding = UTF8; SET search_path = public, envcrypt;\n"
		. ($o{set} // '') . "\n\\copy ($query) TO '$dir/$file' (FORMAT csv, HEADER " . ($o{header} // 1) . ")",
		db => $o{db});
}

my $catalog = q{
	SELECT k.name, k.label, v.algorithm, w.root_key, encode(v.kvid, 'hex') AS kvid,
	       encode(v.commitment, 'hex') AS commitment, encode(w.wrapped, 'hex') AS wrapped
	FROM key k JOIN key_version v ON v.key = k.name JOIN key_wrap w USING (kvid)};
copy_out($catalog, 'catalog.csv');
copy_out($catalog, 'catalog2.csv', db => 'latin', header => 0);
append_to_file("$dir/catalog.csv", slurp_file("$dir/catalog2.csv"));

# ---- SQL seals, Python opens

# 2 keys, with and without context, 15 times the lengths 0 to 100 and then up
# to 4,100; every fifth is text.
sql($node, qq{
	SELECT setseed($seed / 2147483648.0);
	CREATE FUNCTION random_bytes(n int) RETURNS bytea LANGUAGE sql AS \$\$
		SELECT coalesce(substr(string_agg(sha256(float8send(random())), ''), 1, n), '')
		FROM generate_series(1, (n + 31) / 32) \$\$;
	CREATE FUNCTION random_text(n int) RETURNS text LANGUAGE sql AS \$\$
		SELECT left(translate(encode(random_bytes(n), 'hex'), '0123456789abcdef',
			E'aZ \\n\\t\\\\"'',0\\u00e9\\u0416\\u4e2d\\u20ac\\U0001f600x'), n) \$\$;
	CREATE TABLE plan AS
		SELECT row_number() OVER () AS id, key, n, i % 5 = 0 AS is_text,
			CASE WHEN bound THEN CASE i % 4
				WHEN 0 THEN enc_context('customer', i::text) WHEN 1 THEN 'x'
				WHEN 2 THEN U&'na\\00efve \\0416 \\+01f600' ELSE random_text(1 + i % 700) END END AS context,
			CASE WHEN i % 5 <> 0 THEN random_bytes(n)
				ELSE convert_to(random_text(CASE WHEN n <= 100 THEN n ELSE n / 2 END), 'UTF8') END AS plain
		FROM (VALUES ('r'), ('d')) k(key), (VALUES (false), (true)) b(bound),
			LATERAL (SELECT i, CASE WHEN i < 1515 THEN i % 101 ELSE 101 + (i - 1515) * 3999 / 984 END AS n
				FROM generate_series(0, 2499) i) x;
	CREATE TABLE sealed AS
		SELECT id, context, plain,
			CASE WHEN is_text AND context IS NULL THEN encrypt(convert_from(plain, 'UTF8'), key)
				WHEN is_text THEN encrypt_bound(convert_from(plain, 'UTF8'), key, context)
				WHEN context IS NULL THEN encrypt_bytea(plain, key)
				ELSE encrypt_bytea(plain, key, context) END AS value
		FROM plan;
});
copy_out(q{SELECT id, context, encode(plain, 'hex') AS plain, value FROM sealed}, 'sealed.csv');

# enc_context of one to five parts, empty ones among them.
copy_out(q{
	SELECT string_agg(encode(convert_to(part, 'UTF8'), 'hex'), '/') AS parts,
		encode(convert_to(enc_context(VARIADIC array_agg(part)), 'UTF8'), 'hex') AS context
	FROM (SELECT i, random_text((random() * (i % 130))::int) AS part
		FROM generate_series(0, 499) i, LATERAL generate_series(0, i % 5) j) parts GROUP BY i},
	'contexts.csv');

# Section 10: text output under its settings.  Sealed under others in one
# session, written out under those of the page in another.
my @typed = map { "($_)" } (
	q{'date', NULL, DATE '1980-02-29'}, q{'date bc', NULL, DATE '0044-03-15 BC'},
	q{'timestamptz', 'x', TIMESTAMPTZ '2026-01-02 03:04:05.678901+09'},
	q{'timestamp', NULL, TIMESTAMP 'infinity'}, q{'time', NULL, TIME '23:59:59.5'},
	q{'interval', 'x', INTERVAL '1 year -2 months 3 days 04:05:06.7'}, q{'float8', NULL, float8 '0.1'},
	q{'float8 3', NULL, 1::float8 / 3}, q{'float4', NULL, float4 '1e-30'}, q{'float8 nan', NULL, float8 'NaN'},
	q{'numeric', NULL, numeric '1.50'}, q{'int8', 'x', int8 '-9223372036854775808'},
	q{'bool', NULL, true}, q{'uuid', NULL, uuid 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'},
	q{'jsonb', NULL, jsonb '{"b": 1.0, "a": "é"}'}, q{'text[]', NULL, ARRAY['a b', NULL, 'é']},
	q{'bytea[]', NULL, ARRAY['\xdeadbeef'::bytea]}, q{'daterange', NULL, daterange '[2020-01-01,2020-02-01)'},
	q{'money', NULL, money '1234.5'}, q{'varchar', NULL, varchar 'vä'}, q{'inet', NULL, inet '10.0.0.1/8'});
my ($seal, $show) = ('', '');
for (@typed)
{
	my ($name, $context, $value) = /^\('(.*?)', (NULL|'x'), (.*)\)$/ or die;
	my $call = $context eq 'NULL' ? "encrypt($value, 'd')" : "encrypt_bound($value, 'd', $context)";
	$seal .= "INSERT INTO typed VALUES ('$name', $context, $call);\n";
	$show .= "UPDATE typed SET plain = format('%s', $value) WHERE name = '$name';\n";
}
my $iso = q{
	SET DateStyle = 'ISO, YMD'; SET IntervalStyle = iso_8601; SET TimeZone = 'UTC';
	SET extra_float_digits = 1; SET bytea_output = hex; SET lc_monetary = 'C';
};
sql($node, qq{
	CREATE TABLE typed (name text PRIMARY KEY, context text, value enc_bytea, plain text);
	SET DateStyle = 'German'; SET IntervalStyle = sql_standard; SET TimeZone = 'Asia/Tokyo';
	SET extra_float_digits = -5; SET bytea_output = escape;
	$seal});
# format() takes the type's output function, under the settings of the session
sql($node, $iso . $show);
copy_out(q{SELECT name, context, value, plain FROM typed}, 'typed.csv');

# A LATIN1 database: plaintext and context are UTF-8 all the same.
copy_out(q{
	SELECT 'latin ' || i AS name, c AS context,
		CASE WHEN c IS NULL THEN encrypt(t, 'l') ELSE encrypt_bound(t, 'l', c) END AS value, t AS plain
	FROM (VALUES (1, NULL, 'Käse'), (2, 'Grüße', 'Käse'), (3, enc_context('é', 'ü'), 'ÿ')) v(i, c, t)},
	'typed2.csv', db => 'latin', header => 0);
append_to_file("$dir/typed.csv", slurp_file("$dir/typed2.csv"));

python('exchange.py', 'open', $dir, $seed);

# ---- Python seals, SQL opens

python('exchange.py', 'seal', $dir, $seed);

sql($node, qq{
	SET client_encoding = UTF8;
	CREATE TABLE values_ (id int, key text, kind text, context bytea, plain bytea, value enc_bytea);
	CREATE TABLE forms (id int, rule text, value text, canonical text);
	CREATE TABLE refused (id int, what text, form text, context bytea, value text, state text);
	\\copy values_ FROM '$dir/values.csv' (FORMAT csv)
	\\copy forms FROM '$dir/forms.csv' (FORMAT csv)
	\\copy refused FROM '$dir/refused.csv' (FORMAT csv)
	ALTER TABLE refused ALTER context TYPE text USING convert_from(context, 'UTF8');
	ALTER TABLE values_ ALTER context TYPE text USING convert_from(context, 'UTF8'),
		ADD opened bytea, ADD sealed enc_bytea;
	UPDATE values_ SET
		opened = CASE WHEN kind = 'text' AND context IS NULL THEN convert_to(decrypt(value), 'UTF8')
			WHEN kind = 'text' THEN convert_to(decrypt(value, context), 'UTF8')
			WHEN context IS NULL THEN decrypt_bytea(value)
			ELSE decrypt_bytea(value, context) END,
		sealed = CASE WHEN key <> 'd' OR kind = 'padded' THEN NULL
			WHEN context IS NULL THEN encrypt_bytea(plain, key)
			ELSE encrypt_bytea(plain, key, context) END;

	-- what happens to a value: its canonical text, or the SQLSTATE
	CREATE FUNCTION try_form(value text) RETURNS text LANGUAGE plpgsql AS \$\$
		BEGIN RETURN value::enc_bytea::text; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END \$\$;
	CREATE FUNCTION try_cast(value text) RETURNS text LANGUAGE plpgsql AS \$\$
		BEGIN RETURN value::bytea::enc_bytea::text; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END \$\$;
	CREATE FUNCTION try_open(r refused) RETURNS text LANGUAGE plpgsql AS \$\$
		BEGIN
			IF r.form = 'text' THEN
				RETURN 'opened: ' || decrypt(r.value::enc_bytea);
			ELSIF r.context IS NULL THEN
				RETURN 'opened: ' || decrypt_bytea(r.value::enc_bytea);
			END IF;
			RETURN 'opened: ' || decrypt_bytea(r.value::enc_bytea, r.context);
		EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END \$\$;
});

# The wrong ones of a table, at most five; '' when there are rows and none is.
sub none_wrong
{
	my ($table, $shown, $ok, $name) = @_;
	my $count = sql($node, "SELECT count(*) FROM $table");
	my $wrong = sql($node, "SELECT $shown FROM $table WHERE ($ok) IS NOT TRUE ORDER BY id LIMIT 5");

	cmp_ok($count, '>', 0, "there are rows: $name");
	is($wrong, '', "$name ($count)");
}

my $brief = 'id, key, kind, length(context), length(plain), left(value::text, 80)';
none_wrong(q{(SELECT * FROM values_ WHERE kind <> 'padded') v}, $brief, 'opened = plain',
	'SQL opens what Python sealed');
none_wrong(q{(SELECT * FROM values_ WHERE kind = 'padded') v}, $brief, 'opened = plain',
	'SQL opens what Python padded');
none_wrong(q{(SELECT * FROM values_ WHERE key = 'd' AND kind <> 'padded') v}, $brief, 'sealed = value',
	'SQL and Python seal to the same bytes with a searchable key');
none_wrong('forms', 'id, rule, left(value, 80), canonical, try_form(value)',
	q{try_form(value) = coalesce(canonical, '22P03')}, 'input takes what is well formed, and 22P03 the rest');
none_wrong(q{(SELECT * FROM forms WHERE rule <> 'text') f}, 'id, rule, left(value, 80), try_cast(value)',
	q{try_cast(value) = coalesce(canonical, '22P03')}, 'and so does the cast from bytea');
is(sql($node, q{SELECT string_agg(DISTINCT rule, ' ' ORDER BY rule) FROM forms WHERE canonical IS NULL}),
	'1 2 3 4 5 6 7 8 text', 'each rule was broken');
none_wrong('refused r', 'id, what, context, left(value, 80), state, try_open(r)', 'try_open(r) = state',
	'what Python tampered with is refused, as section 11 orders');

# In a database of another encoding: UTF-8 is sealed, step 10 says what cannot be shown.
sql($node, qq{
	SET client_encoding = UTF8;
	CREATE TABLE latin (id int, context bytea, value enc_bytea, gives text);
	\\copy latin FROM '$dir/latin.csv' (FORMAT csv)
	CREATE FUNCTION try_latin(l latin) RETURNS text LANGUAGE plpgsql AS \$\$
		BEGIN
			IF l.context IS NULL THEN RETURN decrypt(l.value); END IF;
			RETURN decrypt(l.value, convert_from(l.context, 'UTF8'));
		EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END \$\$;
}, db => 'latin');
is(sql($node, q{SELECT count(*) FROM latin}, db => 'latin'), 15, 'there are LATIN1 rows');
is(sql($node, q{SELECT id, gives, try_latin(l) FROM latin l WHERE try_latin(l) IS DISTINCT FROM gives ORDER BY id},
	db => 'latin'), '', 'a LATIN1 database opens what Python sealed, or says 22021');

# ---- section 11: what the server alone knows, in the order of the steps

my ($stranger, $wrong_suite, $tampered) = map
{
	sql($node, "SELECT value FROM refused WHERE what = '$_' AND context IS NULL AND value LIKE '\\\\xec__00%' ORDER BY id LIMIT 1")
} ('unknown kvid', 'other suite', 'other secret');
my %open = map { $_->[0] => "SELECT decrypt_bytea('$_->[1]')" }
	([ stranger => $stranger ], [ suite => $wrong_suite ], [ tampered => $tampered ]);

sql($node, 'CREATE ROLE nobody_here LOGIN; GRANT USAGE ON SCHEMA envcrypt TO nobody_here');
fails_with($node, '42704', $open{stranger}, 'step 4 before 5', user => 'nobody_here');
fails_with($node, '42501', $open{suite}, 'step 5 before 6', user => 'nobody_here');
sql($node, q{SELECT disable_key('r')});
fails_with($node, '22000', $open{suite}, 'step 6 before 7');
fails_with($node, '55000', $open{tampered}, 'step 7 before 9');
move($keys, "$keys.away") or die $!;
fails_with($node, '55000', $open{tampered}, 'step 7 before 8');
sql($node, q{SELECT enable_key('r')});
fails_with($node, '58000', $open{tampered}, 'step 8 before 9');
fails_with($node, '22000', $open{suite}, 'step 6 before 8');
move("$keys.away", $keys) or die $!;
fails_with($node, '22000', $open{tampered}, 'step 9');

done_testing();
