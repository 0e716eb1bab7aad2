/*
 * secret.h
 *	  The one key type, the one wipe, random bytes, and the process they
 *	  belong to.
 */
#ifndef EVC_SECRET_H
#define EVC_SECRET_H

#include <sys/types.h>

#include "core/evc.h"

#define EVC_KEY_BYTES 32

/* Always passed by pointer and wiped by the function that declared it. */
typedef struct evc_key
{
	uint8_t		b[EVC_KEY_BYTES];
} evc_key;

/* Overwrite memory in a way the compiler may not remove. */
extern void evc_wipe(void *p, size_t len);

/* Whether two buffers are equal, in time that depends on len alone. */
extern bool evc_equal(const void *a, const void *b, size_t len);

/*
 * Fill buf from getrandom(2), never from a generator in this process, whose
 * state a cloned machine would share.  EVC_RANDOM_FAILED when the kernel gives
 * none; there is no fallback.
 */
EVC_MUST_USE extern evc_code evc_random(void *buf, size_t len, evc_err *err);

/*
 * This process's id, asked for at every value.  The system call costs as much
 * as sealing a short one, so the answer is kept in a page that the kernel
 * zeroes on fork, whoever forks and however; without such a page it is asked
 * for each time.
 */
extern pid_t evc_pid(void);

#endif							/* EVC_SECRET_H */
