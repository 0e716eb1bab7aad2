# Every code block of docs/orm.md is run by a test here, or says that it is not.
use strict;
use warnings FATAL => 'all';

use Test::More;

sub slurp { open my $in, '<', $_[0] or die "$_[0]: $!"; local $/; return <$in> }

my $page = slurp('docs/orm.md');
my $runner = slurp('scripts/check-drivers');
my $tests = join '', $runner, map { slurp($_) } grep { $_ ne $0 } glob 'test/drivers/t_* test/drivers/*.java';
my @named;

for my $section (split /^(?=##+ )/m, $page)
{
	my ($title) = $section =~ /^#+ (.*)/;

	while ($section =~ /^```(\w+)\n(.*?)^```$/msg)
	{
		my ($language, $code) = ($1, $2);

		if ($code =~ m{\A(?:#|//|--) ([\w/]+)\.\w+\n}) { push @named, $1 }
		else { like($section, qr/\*\*Not run by a test\*\*/, "$title: an unnamed $language block is marked") }
	}
}
for my $name (@named)
{
	my $used = $name =~ s{.*/}{}r;
	ok($tests =~ /\b$used\b/ || $page =~ /^from $used import/m, "$name is used by a test");
}
while ($page =~ /\]\((?:([^)#:]+))?(?:#([^)]+))?\)/g)
{
	my ($file, $anchor) = (defined $1 ? "docs/$1" : 'docs/orm.md', $2);
	ok(-e $file, "link exists: $file");
	next unless defined $anchor;
	my @titles = map { lc =~ s/[^\w\- ]//gr =~ tr/ /-/r } slurp($file) =~ /^#+ (.*)$/mg;
	ok((grep { $_ eq $anchor } @titles), "anchor exists: $anchor");
}
done_testing();
