# pg_upgrade.pl: a cluster with sealed values goes through pg_upgrade by
# copying and by linking its files.  Both sides are the same version here; the
# extension is dumped and made again object by object all the same.

use strict;
use warnings FATAL => 'all';

use EnvcryptFixture;
use EnvcryptTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_cluster('old');

sql($old, q{CREATE ROLE app LOGIN; CREATE ROLE "Keeper ""2"""; CREATE DATABASE src});
EnvcryptTest::install($old, 'src');
fill_database($old, 'src');
my $before = snapshot($old, 'src');
$old->stop;

# What a grant to a role, by name and OID, is still worth.
sub grants_active
{
	my ($node, $name) = @_;

	is(sqlstate($node, q{SELECT envcrypt.decrypt(email) FROM aaa.person}, db => 'src', user => 'app'),
		'00000', "$name: a role uses its grant");
	return is(sql($node, q{SELECT string_agg(grantee, ',') FROM envcrypt.grants WHERE NOT active}, db => 'src'),
		'gone', "$name: only that of the dropped role is inert");
}

# Both clusters find the extension by their own postgresql.conf.  A role made
# in the new cluster before would be refused by pg_upgrade, so OIDs are kept.
sub upgrade
{
	my ($name, @mode) = @_;
	my $new = PostgreSQL::Test::Cluster->new($name);
	my $bindir = $new->config_data('--bindir');

	$new->init;
	command_ok(
		[   'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir,
			'-b', $bindir, '-B', $bindir, '-s', $new->host, '-p', $old->port, '-P', $new->port,
			'-o', '-c fsync=off', '-O', '-c fsync=off', @mode ],
		"pg_upgrade @mode");
	$new->start;
	same_database($new, 'src', $before, $name);
	grants_active($new, $name);
	guards_work($new, 'src', $name);
	values_usable($new, 'src', $name);
	$new->stop;
	return;
}

chdir PostgreSQL::Test::Utils::tempdir() or die "cannot enter a temporary folder: $!";
upgrade('copy');
# afterwards the old cluster cannot be started any more
upgrade('link', '--link');

done_testing();
