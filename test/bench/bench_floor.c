/*
 * bench_floor.c
 *	  What the benchmarks compare with and measure by.
 */
#include "postgres.h"

#include <malloc.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/pg_prng.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(bench_touch);
PG_FUNCTION_INFO_V1(bench_noise);
PG_FUNCTION_INFO_V1(bench_cpu);
PG_FUNCTION_INFO_V1(bench_malloced);
PG_FUNCTION_INFO_V1(bench_resident);

/* The least a function of a value can do: detoast it and look at one byte. */
Datum
bench_touch(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_VARLENA_PP(0);
	int32		byte = VARSIZE_ANY_EXHDR(v) > 0 ? (uint8) VARDATA_ANY(v)[0] : 0;

	PG_FREE_IF_COPY(v, 0);
	PG_RETURN_INT32(byte);
}

/* That many random hexadecimal digits. */
Datum
bench_noise(PG_FUNCTION_ARGS)
{
	int32		len = PG_GETARG_INT32(0);
	text	   *t = palloc(VARHDRSZ + len);

	for (int32 i = 0; i < len; i++)
		VARDATA(t)[i] = "0123456789abcdef"[pg_prng_uint64(&pg_global_prng_state) & 15];
	SET_VARSIZE(t, VARHDRSZ + len);
	PG_RETURN_TEXT_P(t);
}

/* Milliseconds this process has had on a processor. */
Datum
bench_cpu(PG_FUNCTION_ARGS)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	PG_RETURN_FLOAT8(t.tv_sec * 1e3 + t.tv_nsec / 1e6);
}

/* Bytes this process has from malloc: memory contexts and OpenSSL's alike. */
Datum
bench_malloced(PG_FUNCTION_ARGS)
{
	struct mallinfo2 info = mallinfo2();

	PG_RETURN_INT64(info.uordblks + info.hblkhd);
}

/* Resident bytes that are this process's alone (VmRSS less shared). */
Datum
bench_resident(PG_FUNCTION_ARGS)
{
	FILE	   *f = fopen("/proc/self/statm", "r");
	long		total,
				resident,
				shared;
	int			n = 0;

	if (f != NULL)
	{
		n = fscanf(f, "%ld %ld %ld", &total, &resident, &shared);
		fclose(f);
	}
	if (n != 3)
		elog(ERROR, "could not read /proc/self/statm");
	PG_RETURN_INT64((int64) (resident - shared) * sysconf(_SC_PAGESIZE));
}
