/*
 * t_nonce_processes.c
 *	  Ten million values sealed by sixteen processes: no nonce twice.
 *
 * Each process seals its share with a version it got by fork, as if nothing
 * had been thought of: the prefix must change by itself.  Transactions are of
 * every length, so that many draws meet.  ENVCRYPT_NONCES is another total.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/version.h"
#include "tap.h"

#define PROCESSES	16
#define VALUES		10000000

typedef struct nonce
{
	uint8_t		b[EVC_NONCE_BYTES];
} nonce;

/*
 * Transactions of 1, 2, 4 .. 2^16 values, over and over.  Their numbers are the
 * same in every process: only the pid and the kernel's bytes tell draws apart.
 */
static int
seal_share(evc_version *v, nonce *out, size_t n)
{
	uint8_t		sealed[EVC_HEADER_BYTES + EVC_NONCE_BYTES + EVC_TAG_BYTES + 1];
	size_t		length = 1;
	size_t		left = 1;
	uint64_t	xact = 1;

	for (size_t i = 0; i < n; i++)
	{
		if (left-- == 0)
		{
			length = length < (1 << 16) ? length * 2 : 1;
			left = length - 1;
			xact++;
		}
		if (evc_seal(v, xact, (const uint8_t *) "x", 1, NULL, sealed, NULL) != EVC_OK)
			return 1;
		memcpy(out[i].b, sealed + EVC_HEADER_BYTES, EVC_NONCE_BYTES);
	}
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(nonce));
}

/*
 * How many of the nonces that a first byte puts into one class have an equal
 * before them.  Prefixes are uniform, so the classes are even.
 */
static size_t
repeated(const nonce *all, size_t n, size_t class, size_t classes)
{
	nonce	   *mine = malloc(n * sizeof(nonce));
	size_t		count = 0;
	size_t		same = 0;

	if (mine == NULL)
		return n;
	for (size_t i = 0; i < n; i++)
	{
		if (all[i].b[0] % classes == class)
			mine[count++] = all[i];
	}
	qsort(mine, count, sizeof(nonce), compare);
	for (size_t i = 1; i < count; i++)
		same += compare(&mine[i - 1], &mine[i]) == 0;
	free(mine);
	return same;
}

/* Run a job in each of n children; returns how many ended well. */
typedef int (*child_job) (size_t child, void *arg);

static int
in_children(size_t n, child_job job, void *arg)
{
	int			well = 0;
	int			status;

	fflush(stdout);
	for (size_t i = 0; i < n; i++)
	{
		pid_t		pid = fork();

		if (pid == 0)
			_exit(job(i, arg));
		if (pid < 0)
			return -1;
	}
	for (size_t i = 0; i < n; i++)
		well += wait(&status) > 0 && status == 0;
	return well;
}

typedef struct shared
{
	evc_version *v;
	nonce	   *all;
	size_t		share;			/* of each process */
	size_t	   *same;			/* found by each counter */
} shared;

#define COUNTERS 4

static int
seal_job(size_t child, void *arg)
{
	shared	   *s = arg;

	return seal_share(s->v, s->all + child * s->share, s->share);
}

static int
count_job(size_t child, void *arg)
{
	shared	   *s = arg;

	s->same[child] = repeated(s->all, s->share * PROCESSES, child, COUNTERS);
	return 0;
}

static size_t
count_repeated(shared *s)
{
	size_t		same = 0;

	if (in_children(COUNTERS, count_job, s) != COUNTERS)
		return SIZE_MAX;
	for (int i = 0; i < COUNTERS; i++)
		same += s->same[i];
	return same;
}

static void *
shared_memory(size_t size)
{
	void	   *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

int
main(void)
{
	static const uint8_t kvid[EVC_KVID_BYTES] = {1};
	const char *total = getenv("ENVCRYPT_NONCES");
	evc_key		secret = {{9}};
	evc_version v;
	uint8_t		out[100];
	shared		s = {.v = &v};

	s.share = (total != NULL ? strtoul(total, NULL, 10) : VALUES) / PROCESSES;
	s.all = shared_memory(s.share * PROCESSES * sizeof(nonce));
	s.same = shared_memory(COUNTERS * sizeof(size_t));

	/* The parent has a draw running in transaction 1, as its children begin. */
	if (evc_version_init(&v, EVC_ALG_XAES, kvid, &secret, NULL) != EVC_OK ||
		evc_seal(&v, 1, (const uint8_t *) "x", 1, NULL, out, NULL) != EVC_OK)
		return 1;
	ok(in_children(PROCESSES, seal_job, &s) == PROCESSES, "%d processes seal %zu values each",
	   PROCESSES, s.share);
	ok(count_repeated(&s) == 0, "no nonce twice among %zu", s.share * PROCESSES);

	/* Control: one that is there twice is found. */
	s.all[s.share * PROCESSES - 1] = s.all[0];
	ok(count_repeated(&s) == 1, "control: one put there twice is found");
	evc_version_clear(&v);
	return done_testing();
}
