/*
 * t_nonce.c
 *	  Nonces at their edges, without random numbers, across a fork.
 *
 * The clocks and the random source of this program are its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/nonce.h"
#include "core/version.h"
#include "tap.h"

static struct
{
	int			interrupts;		/* answer EINTR that often first */
	int			error;			/* then fail with this */
	size_t		most;			/* never give more at once */
	int			calls;
	uint64_t	now;			/* both clocks; 0: the kernel's */
	int			clock_error;
}			fake = {0, 0, SIZE_MAX, 0, 0, 0};

ssize_t
getrandom(void *buf, size_t len, unsigned int flags)
{
	fake.calls++;
	if (fake.interrupts > 0)
	{
		fake.interrupts--;
		errno = EINTR;
		return -1;
	}
	if (fake.error != 0)
	{
		errno = fake.error;
		return -1;
	}
	return syscall(SYS_getrandom, buf, len < fake.most ? len : fake.most, flags);
}

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	if (fake.clock_error != 0)
	{
		errno = fake.clock_error;
		return -1;
	}
	if (fake.now != 0)
	{
		t->tv_sec = (time_t) (fake.now / 1000000000);
		t->tv_nsec = (long) (fake.now % 1000000000);
		return 0;
	}
	return (int) syscall(SYS_clock_gettime, clock, t);
}

static evc_nonce
fresh(void)
{
	evc_nonce	n;

	memset(&n, 0, sizeof(n));
	memset(&n.hedge, 5, sizeof(n.hedge));
	return n;
}

/* What the next nonce is to the one before. */
typedef enum step
{
	FAILED, SAME, COUNTED, DRAWN
} step;

static step
next(evc_nonce *n, uint64_t xact, size_t len)
{
	uint8_t		before[24];
	uint8_t		after[24];
	uint64_t	draws = n->draws;

	memcpy(before, n->value, sizeof(before));
	if (evc_nonce_next(n, xact, len, after, NULL) != EVC_OK)
		return FAILED;
	if (n->draws != draws)
		return memcmp(before, after, 12) != 0 && memcmp(before + 12, after + 12, 12) != 0 ?
			DRAWN : SAME;
	if (memcmp(before, after, 12) != 0)
		return SAME;
	for (int i = 23; i >= 12; i--)
	{
		if (++before[i] != 0)
			break;
	}
	return memcmp(before, after, 24) == 0 ? COUNTED : SAME;
}

static void
test_redraw(void)
{
	evc_nonce	n = fresh();

	ok(next(&n, 1, 64) == DRAWN && n.draws == 1, "the first is drawn");
	ok(next(&n, 1, 64) == COUNTED && next(&n, 1, 0) == COUNTED, "the next count up");
	ok(next(&n, 2, 64) == DRAWN, "another transaction");
	n.pid++;
	ok(next(&n, 2, 64) == DRAWN, "another process");
	n.messages = EVC_NONCE_MAX_MESSAGES - 1;
	ok(next(&n, 2, 64) == COUNTED, "message 2^20");
	ok(next(&n, 2, 64) == DRAWN && n.messages == 1, "message 2^20 + 1");
	n.blocks = EVC_NONCE_MAX_BLOCKS - 6;
	ok(next(&n, 2, 64) == COUNTED, "block 2^32");
	ok(next(&n, 2, 64) == DRAWN && n.blocks == 6, "beyond block 2^32");
	memset(n.value + 12, 0xff, 12);
	ok(next(&n, 2, 64) == COUNTED && memcmp(n.value + 12, "\0\0\0\0\0\0\0\0\0\0\0", 12) == 0,
	   "the IV wraps at 2^96 and leaves the prefix alone");
	n.drawn = false;
	ok(next(&n, 2, 64) == DRAWN, "a version prepared again");
}

static void
test_time(void)
{
	evc_nonce	n = fresh();
	const uint64_t second = 1000000000;

	fake.now = 1000 * second;
	ok(next(&n, 1, 64) == DRAWN, "drawn at 0 s");
	fake.now += 60 * second - 1;
	ok(next(&n, 1, 64) == COUNTED, "1 ns before 60 s");
	fake.now += 1;
	ok(next(&n, 1, 64) == DRAWN, "60 s");
	fake.now -= 1;
	ok(next(&n, 1, 64) == DRAWN, "a clock that went back");
	fake.now = 0;
	fake.clock_error = EINVAL;
	ok(next(&n, 1, 64) == FAILED, "no clock, no nonce");
	fake.clock_error = 0;
}

/* A cloned machine repeats everything but what the kernel gives. */
static void
test_clone(void)
{
	evc_nonce	a = fresh();
	evc_nonce	b;
	uint8_t		x[24];
	uint8_t		y[24];

	fake.now = 5000000000;
	ok(next(&a, 1, 64) == DRAWN, "a running state");
	b = a;
	ok(evc_nonce_next(&a, 2, 64, x, NULL) == EVC_OK &&
	   evc_nonce_next(&b, 2, 64, y, NULL) == EVC_OK && a.draws == b.draws &&
	   memcmp(x, y, 12) != 0 && memcmp(x + 12, y + 12, 12) != 0,
	   "two copies of it draw apart in their next transaction");
	fake.now = 0;
}

static void
test_random_failure(void)
{
	uint8_t		buf[40] = {0};
	uint8_t		zero[40] = {0};
	uint8_t		out[200];
	static const int errors[] = {ENOSYS, EAGAIN, EFAULT};
	static const uint8_t kvid[8] = {1};
	evc_key		secret = {{9}};
	evc_version v;
	evc_err		err;

	fake.interrupts = 3;
	fake.most = 7;
	fake.calls = 0;
	ok(evc_random(buf, sizeof(buf), NULL) == EVC_OK && fake.calls == 3 + 6 &&
	   memcmp(buf + 33, zero, 7) != 0, "interrupted and short reads go on");
	fake.most = SIZE_MAX;

	if (evc_version_init(&v, EVC_ALG_XAES, kvid, &secret, NULL) != EVC_OK)
		exit(1);
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
	{
		fake.error = errors[i];
		ok(evc_random(buf, sizeof(buf), &err) == EVC_RANDOM_FAILED &&
		   err.sys_errno == errors[i] && memcmp(buf, zero, sizeof(buf)) == 0,
		   "errno %d: an error and no bytes", errors[i]);
		memset(out, 0, sizeof(out));
		ok(evc_seal(&v, i, (const uint8_t *) "secret", 6, NULL, out, &err) == EVC_RANDOM_FAILED &&
		   memcmp(out + 12, zero, 40) == 0 && memcmp(out + 52, zero, 6) == 0,
		   "nothing is sealed");
		fake.error = 0;
		ok(evc_seal(&v, i, (const uint8_t *) "secret", 6, NULL, out, NULL) == EVC_OK,
		   "the same value is, once there are random bytes");
	}

	/* A draw that fails must not leave the spent one in use. */
	v.nonce.messages = EVC_NONCE_MAX_MESSAGES;
	fake.error = EIO;
	ok(evc_seal(&v, 2, (const uint8_t *) "secret", 6, NULL, out, NULL) == EVC_RANDOM_FAILED &&
	   evc_seal(&v, 2, (const uint8_t *) "secret", 6, NULL, out, NULL) == EVC_RANDOM_FAILED,
	   "a failed draw stays failed");
	fake.error = 0;
	evc_version_clear(&v);
}

/* Seal and open in a process, several versions prepared elsewhere; send the nonces. */
static int
work(evc_version *v, evc_version *siv, int fd)
{
	uint8_t		out[100];
	uint8_t		back[100];
	size_t		n;
	evc_envelope env;

	for (int i = 0; i < 10; i++)
	{
		if (evc_seal(v, 1, (const uint8_t *) "secret", 6, NULL, out, NULL) != EVC_OK ||
			evc_envelope_parse(out, 58, &env, NULL) != EVC_OK ||
			evc_open(v, &env, NULL, back, &n, NULL) != EVC_OK || n != 6 ||
			write(fd, env.nonce.data, 24) != 24)
			return 1;
		if (evc_seal(siv, 1, (const uint8_t *) "secret", 6, NULL, out, NULL) != EVC_OK ||
			evc_envelope_parse(out, 34, &env, NULL) != EVC_OK ||
			evc_open(siv, &env, NULL, back, &n, NULL) != EVC_OK)
			return 1;
	}
	evc_version_clear(v);
	evc_version_clear(siv);
	return 0;
}

/* The child opens what the parent sealed, with contexts it made anew. */
static int
child_main(evc_version *v, evc_version *siv, const uint8_t *sealed, int fd)
{
	static const uint8_t kvid[8] = {1};
	evc_key		secret = {{9}};
	evc_envelope env;
	uint8_t		back[100];
	size_t		n;
	evc_version own;

	if (evc_pid() != getpid() ||
		evc_envelope_parse(sealed, 58, &env, NULL) != EVC_OK ||
		evc_open(v, &env, NULL, back, &n, NULL) != EVC_OK)
		return 2;
	if (evc_version_init(&own, EVC_ALG_XAES, kvid, &secret, NULL) != EVC_OK ||
		evc_open(&own, &env, NULL, back, &n, NULL) != EVC_OK)
		return 3;
	evc_version_clear(&own);
	return work(v, siv, fd);
}

static void
test_fork(void)
{
	static const uint8_t kvid[8] = {1};
	evc_key		secret = {{9}};
	evc_version v;
	evc_version siv;
	uint8_t		sealed[58];
	uint8_t		nonces[20][24];
	int			fd[2];
	int			status = -1;
	int			same = 0;
	pid_t		child;

	if (evc_version_init(&v, EVC_ALG_XAES, kvid, &secret, NULL) != EVC_OK ||
		evc_version_init(&siv, EVC_ALG_SIV, kvid, &secret, NULL) != EVC_OK ||
		evc_seal(&v, 1, (const uint8_t *) "secret", 6, NULL, sealed, NULL) != EVC_OK ||
		pipe(fd) != 0)
		exit(1);
	fflush(stdout);
	if ((child = fork()) == 0)
		_exit(child_main(&v, &siv, sealed, fd[1]));
	ok(waitpid(child, &status, 0) == child && status == 0, "a prepared version works in a child");
	ok(work(&v, &siv, fd[1]) == 0, "and goes on in the parent");
	ok(read(fd[0], nonces, sizeof(nonces)) == (ssize_t) sizeof(nonces), "ten values each");
	for (int i = 0; i < 20; i++)
	{
		for (int k = 0; k < i; k++)
			same += memcmp(nonces[i], nonces[k], 24) == 0;
	}
	ok(same == 0 && memcmp(nonces[0], nonces[10], 12) != 0,
	   "no nonce twice, and another prefix in the child");
}

int
main(void)
{
	test_redraw();
	test_time();
	test_clone();
	test_random_failure();
	test_fork();
	return done_testing();
}
