# EnvcryptSession.pm: a session that stays open, for tests of what one session
# sees of another's doing.
package EnvcryptSession;

use strict;
use warnings FATAL => 'all';

# new(NODE, user => .., db => ..): connected, and going on after errors.
sub new
{
	my ($class, $node, %o) = @_;
	my $psql = $node->background_psql($o{db} // 'postgres',
		on_error_stop => 0,
		extra_params => [ $o{user} ? ('-U', $o{user}) : () ]);
	my $self = bless { psql => $psql, node => $node }, $class;

	$self->run("\\set VERBOSITY verbose\nSET client_min_messages = warning");
	$self->{pid} = $self->run('SELECT pg_backend_pid()');
	return $self;
}

sub pid { return $_[0]->{pid}; }

# Its output, or the SQLSTATE of the last error and an exclamation mark, as in
# "42501!".
sub run
{
	my ($self, $sql) = @_;
	my $psql = $self->{psql};

	$psql->{stderr} = '';
	return $self->outcome(scalar $psql->query($sql));
}

sub outcome
{
	my ($self, $out) = @_;
	my @states = $self->{psql}->{stderr} =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}):/g;

	$self->{error} = $self->{psql}->{stderr};
	$self->{output} = $out;
	return @states ? "$states[-1]!" : $out;
}

# Of the last run: what it complained about, and its output all the same.
sub error { return $_[0]->{error}; }
sub output { return $_[0]->{output}; }

# Start a statement and do not wait for it; finish() does.
sub start
{
	my ($self, $sql) = @_;

	$self->{psql}->{stderr} = '';
	$self->{psql}->query_until(qr/^started$/m, "\\echo started\n$sql;\n");
	return;
}

sub finish
{
	my ($self) = @_;

	return $self->outcome(scalar $self->{psql}->query(''));
}

# Wait until this session waits: for a lock, or for what else is named.
sub wait_until_waiting
{
	my ($self, $type) = @_;
	$type //= 'Lock';

	return $self->{node}->poll_query_until('postgres',
		"SELECT wait_event_type = '$type' FROM pg_stat_activity WHERE pid = $self->{pid}");
}

sub quit { $_[0]->{psql}->quit; return; }

1;
