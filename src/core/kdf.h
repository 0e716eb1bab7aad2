/*
 * kdf.h
 *	  HMAC-SHA-256, HKDF-Expand (RFC 5869), and the working keys of a version.
 *
 * A version's 32-byte secret is never used as a key itself.  Each use has a
 * key of its own, expanded with
 *	  info = "envcrypt/v1/" | purpose, zero-padded to 20 | x | kvid (8)
 * There is no Extract step: the secret is already uniform.
 */
#ifndef EVC_KDF_H
#define EVC_KDF_H

#include "core/evc.h"
#include "core/secret.h"

#define EVC_HMAC_BYTES		32
#define EVC_HKDF_INFO_MAX	128

typedef enum evc_purpose
{
	EVC_PURPOSE_COMMIT,			/* x = algorithm; 1 key */
	EVC_PURPOSE_SEAL,			/* x = suite; 1 key, 2 for suite 03 */
	EVC_PURPOSE_INDEX,			/* x = 10; 1 key */
	EVC_PURPOSE_WRAP,			/* x = 20; 2 keys */
	EVC_PURPOSE_NONCE,			/* x = 00; 1 key */
	EVC_PURPOSE_IMPORT			/* x = 00; 1 key */
} evc_purpose;

EVC_MUST_USE extern evc_code evc_hmac(const evc_key *key, const uint8_t *data, size_t len,
									  uint8_t out[EVC_HMAC_BYTES], evc_err *err);

/* info is at most EVC_HKDF_INFO_MAX bytes, outlen at most 255 * 32. */
EVC_MUST_USE extern evc_code evc_hkdf_expand(const evc_key *prk, const uint8_t *info,
											 size_t infolen, uint8_t *out,
											 size_t outlen, evc_err *err);

/* Derive nkeys consecutive keys; out is wiped on failure. */
EVC_MUST_USE extern evc_code evc_working_key(evc_purpose purpose, uint8_t x,
											 const uint8_t *kvid, const evc_key *secret,
											 evc_key *out, size_t nkeys, evc_err *err);

#endif							/* EVC_KDF_H */
