/*
 * failing_random.c
 *	  LD_PRELOAD library: getrandom() of 32 bytes fails while a file exists.
 *
 * 32 is what a nonce draw and a new key ask for.  Other sizes, and what
 * OpenSSL and the server get otherwise, are left alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t
getrandom(void *buf, size_t len, unsigned int flags)
{
	const char *flag = getenv("FAILING_RANDOM_FLAG");

	if (len == 32 && flag != NULL && access(flag, F_OK) == 0)
	{
		errno = EIO;
		return -1;
	}
	return syscall(SYS_getrandom, buf, len, flags);
}
