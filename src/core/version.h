/*
 * version.h
 *	  One key version made ready for use: seal and open.
 *
 * evc_version_init derives the working keys and schedules them into cipher
 * contexts once; after that a value costs its cipher calls and nothing else:
 * no allocation, no random number generator, no fetch by name.  A version
 * belongs to one process and one thread.
 *
 * Contexts of derived XAES subkeys live in a table shared by all versions of
 * the process (xaes.h), so that a version itself stays small.
 */
#ifndef EVC_VERSION_H
#define EVC_VERSION_H

#include <openssl/evp.h>

#include "core/envelope.h"
#include "core/nonce.h"
#include "core/secret.h"
#include "core/siv.h"
#include "core/xaes.h"

typedef struct evc_version
{
	uint8_t		kvid[EVC_KVID_BYTES];
	uint8_t		algorithm;
	evc_xaes	xaes;			/* algorithm 01 */
	evc_nonce	nonce;			/* algorithm 01: the running draw */
	evc_siv		siv;			/* algorithm 03 */
} evc_version;

/*
 * Prepare the version from its 32-byte secret, which the caller wipes.  On
 * failure nothing is left behind.  EVC_BAD_ARG for an algorithm this release
 * does not seal with.
 */
EVC_MUST_USE extern evc_code evc_version_init(evc_version *v, uint8_t algorithm,
											  const uint8_t *kvid,
											  const evc_key *secret, evc_err *err);

/* Wipe and free everything the version holds, subkey contexts included. */
extern void evc_version_clear(evc_version *v);

/*
 * Seal len bytes into out, which has room for len + evc_suite_overhead(suite)
 * bytes.  context NULL means none; an empty one is EVC_CONTEXT_EMPTY.  xact is any
 * number that changes with the top-level transaction: a nonce draw never
 * spans two.  On failure out holds nothing of the plaintext.
 */
EVC_MUST_USE extern evc_code evc_seal(evc_version *v, uint64_t xact,
									  const uint8_t *plaintext, size_t len,
									  const evc_bytes *context,
									  uint8_t *out, evc_err *err);

/*
 * Open an envelope whose kvid is this version's.  out has room for
 * evc_envelope_plaintext_len() bytes; *outlen is what remains without
 * padding.  Checks, in this order: suite built, context present or absent,
 * suite opened by the algorithm, tag.  On failure out is wiped.
 */
EVC_MUST_USE extern evc_code evc_open(evc_version *v, const evc_envelope *env,
									  const evc_bytes *context,
									  uint8_t *out, size_t *outlen, evc_err *err);

/* What evc_open checks before it needs a key: suite built and context. */
EVC_MUST_USE extern evc_code evc_open_precheck(const evc_envelope *env,
											   const evc_bytes *context,
											   evc_err *err);

#endif							/* EVC_VERSION_H */
