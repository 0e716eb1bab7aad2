# EnvcryptTest.pm: what the TAP tests share on top of PostgreSQL::Test.
#
# The runner names in TEMP_CONFIG a configuration by which a server finds the
# extension and a key file with the root key local:default, and in
# ENVCRYPT_CLI the command-line tool.
package EnvcryptTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_cluster sql sqlstate sql_error fails_with keygen slurp_log values_equal);

# new_cluster(NAME, conf => TEXT, init => [..], extension => 0): a running
# primary with envcrypt in database postgres and its schema in the search_path.
sub new_cluster
{
	my ($name, %o) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%{ $o{init} // {} });
	$node->append_conf('postgresql.conf', $o{conf}) if $o{conf};
	$node->start;
	install($node) unless defined $o{extension} && !$o{extension};
	return $node;
}

# The extension and the search_path, in one database.
sub install
{
	my ($node, $db) = @_;
	$db //= 'postgres';

	$node->safe_psql($db, qq{
		CREATE EXTENSION envcrypt;
		ALTER DATABASE "$db" SET search_path = public, envcrypt;
	});
}

# sql(NODE, SQL, db => .., user => ..): its output, or the test file ends.
sub sql
{
	my ($node, $sql, %o) = @_;
	return $node->safe_psql($o{db} // 'postgres', $sql,
		($o{user} ? (extra_params => [ '-U', $o{user} ]) : ()));
}

# The whole text of a failing statement's error, in verbose form; '' when it
# did not fail.
sub sql_error
{
	my ($node, $sql, %o) = @_;
	my ($out, $err) = ('', '');
	my $rc = $node->psql($o{db} // 'postgres', "\\set VERBOSITY verbose\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [ $o{user} ? ('-U', $o{user}) : () ]);
	return $rc == 0 ? '' : $err;
}

# The SQLSTATE a statement fails with; '00000' when it does not.
sub sqlstate
{
	my $err = sql_error(@_);
	return '00000' if $err eq '';
	return $err =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}):/ ? $1 : "no SQLSTATE in: $err";
}

# fails_with(NODE, SQLSTATE, SQL, TEST NAME, ..): as a test.
sub fails_with
{
	my ($node, $state, $sql, $name, %o) = @_;
	my $err = sql_error($node, $sql, %o);
	my $got = $err eq '' ? '00000' : $err =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}):/ ? $1 : '?';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($got, $state, $name) or diag($err);
	return $err;
}

# keygen(FILE, ARGS..): a key file of the current user.
sub keygen
{
	my ($file, @args) = @_;
	system_or_bail($ENV{ENVCRYPT_CLI}, 'keygen', $file, @args);
	return $file;
}

# The server log so far, or from an offset.
sub slurp_log
{
	my ($node, $offset) = @_;
	return slurp_file($node->logfile, $offset // 0);
}

# Two queries on two nodes give the same rows.
sub values_equal
{
	my ($a, $b, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql($b, $sql), sql($a, $sql), $name);
}

1;
