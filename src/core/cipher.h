/*
 * cipher.h
 *	  AES-256 contexts, and what OpenSSL's failures become.
 *
 * Algorithms are fetched once per process, at the first use and never before
 * a fork: what a parent fetched is left alone in the child.  A context is keyed
 * once and then reused by setting the IV, because in OpenSSL 3 anything more
 * costs several times the encryption of a short value.
 *
 * Contexts are the provider's own (direct.h) or EVP's: all of a process are of
 * one kind, chosen once by a self-test that compares the two.
 */
#ifndef EVC_CIPHER_H
#define EVC_CIPHER_H

#include <openssl/evp.h>

#include "core/evc.h"

#define EVC_BLOCK_BYTES		16

typedef enum evc_mode
{
	EVC_ECB, EVC_CBC, EVC_CTR, EVC_GCM
} evc_mode;

#define EVC_MODES			(EVC_GCM + 1)

/* All zero is a context not made yet. */
typedef struct evc_cipher
{
	const struct evc_direct *f; /* NULL when it is EVP's */
	void	   *direct;			/* one of these two */
	EVP_CIPHER_CTX *evp;
} evc_cipher;

/*
 * Make this process ready, as the first key given would: EVC_CRYPTO when the
 * algorithms cannot be fetched or fail the known-answer test.
 */
EVC_MUST_USE extern evc_code evc_cipher_prepare(evc_err *err);

/*
 * Give a context its key, 32 bytes, making the context if there is none; its
 * mode never changes.  On failure nothing is left in it.
 */
EVC_MUST_USE extern evc_code evc_cipher_key(evc_cipher *c, evc_mode mode,
											const uint8_t *key, evc_err *err);

/* Wipe and free; c may be all zero. */
extern void evc_cipher_clear(evc_cipher *c);

/* Encrypt from this IV on.  Not for ECB. */
EVC_MUST_USE extern bool evc_cipher_start(evc_cipher *c, const uint8_t *iv, size_t len);

/*
 * Run len bytes through a context, all of which must come out at once; out
 * NULL makes them associated data.
 */
EVC_MUST_USE extern bool evc_cipher_update(evc_cipher *c, const uint8_t *in,
										   size_t len, uint8_t *out);

/* For tests: whether contexts made from now on are EVP's in any case. */
extern void evc_cipher_force_evp(bool force);

/* Multiply a block by x in GF(2^128), as CMAC and S2V do. */
extern void evc_block_double(uint8_t block[EVC_BLOCK_BYTES]);

/* EVC_CRYPTO with OpenSSL's reason; empties its error queue. */
extern evc_code evc_crypto_fail(evc_err *err, const char *what);

/* EVC_AUTH_FAILED with its only message; empties the queue too. */
extern evc_code evc_auth_fail(evc_err *err);

#endif							/* EVC_CIPHER_H */
