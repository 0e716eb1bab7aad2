/*
 * nonce.h
 *	  Nonces of suites 01 and 02.
 *
 * A draw of 24 bytes serves one process, one version and one top-level
 * transaction: 12 choose the XAES subkey, 12 start an IV that counts up modulo
 * 2^96.  The IV moves before the cipher is called and is never taken back,
 * whatever happens to the value.  The random start is what makes a shared
 * prefix harmless: it is never simplified to zero.
 */
#ifndef EVC_NONCE_H
#define EVC_NONCE_H

#include <sys/types.h>

#include "core/evc.h"
#include "core/secret.h"

#define EVC_NONCE_MAX_MESSAGES	(UINT64_C(1) << 20)
#define EVC_NONCE_MAX_BLOCKS	(UINT64_C(1) << 32)
#define EVC_NONCE_MAX_SECONDS	60

typedef struct evc_nonce
{
	evc_key		hedge;			/* the version's "nonce" working key */
	uint64_t	draws;
	bool		drawn;
	pid_t		pid;
	uint64_t	xact;
	uint64_t	drawn_at;		/* CLOCK_BOOTTIME, ns */
	uint64_t	messages;
	uint64_t	blocks;
	uint8_t		value[24];		/* prefix 12, last IV 12 */
} evc_nonce;

/*
 * The next nonce, never the same twice, for a message of len bytes.  Redraws
 * as docs/envelope.md says; for another ring generation the caller prepares
 * the version again, which draws.  EVC_RANDOM_FAILED is final for the value: there
 * is no fallback.
 */
EVC_MUST_USE extern evc_code evc_nonce_next(evc_nonce *n, uint64_t xact, size_t len,
											uint8_t *out, evc_err *err);

#endif							/* EVC_NONCE_H */
