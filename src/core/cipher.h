/*
 * cipher.h
 *	  The AES modes everything is built from, over OpenSSL's EVP.
 *
 * Algorithms are fetched once per process, at the first use and never before
 * a fork: what a parent fetched is left alone in the child.  A context is keyed
 * once and then reused by setting the IV, because in OpenSSL 3 anything more
 * costs several times the encryption of a short value.
 */
#ifndef EVC_CIPHER_H
#define EVC_CIPHER_H

#include <openssl/evp.h>

#include "core/evc.h"

#define EVC_BLOCK_BYTES		16
#define EVC_GCM_IV_BYTES	12

typedef struct evc_ciphers
{
	EVP_CIPHER *ecb;			/* AES-256 in each mode */
	EVP_CIPHER *cbc;
	EVP_CIPHER *ctr;
	EVP_CIPHER *gcm;
} evc_ciphers;

/*
 * This process's algorithms; NULL, with err filled, when they cannot be
 * fetched or fail the known-answer test.
 */
extern const evc_ciphers *evc_ciphers_get(evc_err *err);

/* A context keyed for encryption, or NULL with err filled. */
extern EVP_CIPHER_CTX *evc_cipher_ctx_new(const EVP_CIPHER *cipher, const uint8_t *key,
										  evc_err *err);

/*
 * Run len bytes through a context, all of which must come out at once; out
 * NULL makes them associated data.
 */
EVC_MUST_USE extern bool evc_cipher_update(EVP_CIPHER_CTX *ctx, const uint8_t *in,
										   size_t len, uint8_t *out);

/*
 * AES-256-GCM under a keyed context.  One context serves both directions.  The
 * associated data come in two pieces.  evc_gcm_open wipes out on failure.
 */
EVC_MUST_USE extern evc_code evc_gcm_seal(EVP_CIPHER_CTX *ctx, const uint8_t *iv,
										  const evc_bytes ad[2],
										  const uint8_t *in, size_t len,
										  uint8_t *out, uint8_t *tag, evc_err *err);
EVC_MUST_USE extern evc_code evc_gcm_open(EVP_CIPHER_CTX *ctx, const uint8_t *iv,
										  const evc_bytes ad[2],
										  const uint8_t *in, size_t len,
										  const uint8_t *tag,
										  uint8_t *out, evc_err *err);

/* Multiply a block by x in GF(2^128), as CMAC and S2V do. */
extern void evc_block_double(uint8_t block[EVC_BLOCK_BYTES]);

/* EVC_CRYPTO with OpenSSL's reason; empties its error queue. */
extern evc_code evc_crypto_fail(evc_err *err, const char *what);

/* EVC_AUTH_FAILED with its only message; empties the queue too. */
extern evc_code evc_auth_fail(evc_err *err);

#endif							/* EVC_CIPHER_H */
