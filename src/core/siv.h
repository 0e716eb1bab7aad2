/*
 * siv.h
 *	  AES-256-SIV (RFC 5297) with one associated datum, over cached AES
 *	  contexts.
 *
 * Our own S2V rather than EVP's "AES-256-SIV": OpenSSL 3.0 returns a zero tag
 * for an empty plaintext, early 3.0 releases ignore an empty associated datum,
 * and its contexts cannot be reused without keying them again.
 */
#ifndef EVC_SIV_H
#define EVC_SIV_H

#include "core/cipher.h"
#include "core/evc.h"
#include "core/secret.h"

#define EVC_SIV_BYTES		16
#define EVC_SIV_AD_KEPT		128	/* longest associated datum remembered */

typedef struct evc_siv
{
	evc_cipher	mac;			/* AES-256-CBC under the CMAC key */
	evc_cipher	ctr;			/* AES-256-CTR */
	uint8_t		k1[16];			/* CMAC subkeys */
	uint8_t		k2[16];
	uint8_t		start[16];		/* doubled CMAC of a zero block: S2V's start */
	bool		ad_known;		/* ad_d is S2V's state after ad[0 .. ad_len - 1] */
	size_t		ad_len;
	uint8_t		ad[EVC_SIV_AD_KEPT];
	uint8_t		ad_d[16];
} evc_siv;

/*
 * keys[0] is the CMAC key, keys[1] the CTR key.  The first call of a process
 * runs a known-answer test; EVC_CRYPTO when it fails.
 */
EVC_MUST_USE extern evc_code evc_siv_init(evc_siv *s, const evc_key keys[2],
										  evc_err *err);

/* Wipe and free; s may be all zero. */
extern void evc_siv_clear(evc_siv *s);

/*
 * The associated datum comes in two pieces, a fixed head and a tail that may
 * be empty, so that nobody has to join them; values of one column mostly share
 * it, so the last one's share of the work is kept.  siv and out do not overlap;
 * out may be in.  On failure out is wiped.
 */
EVC_MUST_USE extern evc_code evc_siv_seal(evc_siv *s, const evc_bytes ad[2],
										  const uint8_t *in, size_t len,
										  uint8_t *siv, uint8_t *out, evc_err *err);
EVC_MUST_USE extern evc_code evc_siv_open(evc_siv *s, const evc_bytes ad[2],
										  const uint8_t *siv,
										  const uint8_t *in, size_t len,
										  uint8_t *out, evc_err *err);

#endif							/* EVC_SIV_H */
