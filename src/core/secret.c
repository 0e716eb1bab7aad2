/*
 * secret.c
 *	  Wiping, comparing and drawing secrets; noticing a fork.
 */
#include "core/secret.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <openssl/crypto.h>

void
evc_wipe(void *p, size_t len)
{
	if (len > 0)
		OPENSSL_cleanse(p, len);
}

bool
evc_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

evc_code
evc_random(void *buf, size_t len, evc_err *err)
{
	uint8_t    *p = buf;
	size_t		got = 0;

	while (got < len)
	{
		ssize_t		n = getrandom(p + got, len - got, 0);

		if (n > 0)
			got += (size_t) n;
		else if (n == 0 || errno != EINTR)
		{
			int			saved_errno = n == 0 ? EIO : errno;

			evc_wipe(buf, len);
			return evc_fail_errno(err, EVC_RANDOM_FAILED, saved_errno,
								  "the kernel gave no random bytes");
		}
	}
	return EVC_OK;
}

/* One page that the kernel zeroes in a forked child, or NULL without it. */
static pid_t *
map_fork_page(void)
{
	size_t		size = (size_t) sysconf(_SC_PAGESIZE);
	void	   *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
							MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, size, MADV_WIPEONFORK) != 0)
	{
		(void) munmap(page, size);
		return NULL;
	}
	return page;
}

pid_t
evc_pid(void)
{
	static pid_t *page = NULL;
	static bool mapped = false;
	pid_t		pid;

	if (page != NULL && *page != 0)
		return *page;

	if (!mapped)
	{
		page = map_fork_page();
		mapped = true;
	}
	pid = getpid();
	if (page != NULL)
		*page = pid;
	return pid;
}
