/*
 * xaes.h
 *	  XAES-256-GCM (C2SP XAES-256-GCM.md): subkeys, and the table of contexts
 *	  keyed with them.
 *
 * A table written by many transactions shows a new 12-byte prefix every few
 * rows.  A context per recently used (version, prefix) keeps the common case
 * at "set the IV"; a miss derives with the version's cached block cipher and
 * keys a context again, never allocating and never fetching.
 */
#ifndef EVC_XAES_H
#define EVC_XAES_H

#include "core/cipher.h"
#include "core/evc.h"
#include "core/secret.h"

typedef struct evc_xaes
{
	evc_cipher	block;			/* AES-256-ECB under the working key */
	uint8_t		k1[16];
	uint64_t	id;				/* names this version in the subkey table */
} evc_xaes;

EVC_MUST_USE extern evc_code evc_xaes_init(evc_xaes *x, const evc_key *key,
										   evc_err *err);

/*
 * Also wipes this version's contexts in the subkey table.  x may be all zero.
 */
extern void evc_xaes_clear(evc_xaes *x);

/* nonce is 24 bytes; the associated data come in two pieces as in siv.h. */
EVC_MUST_USE extern evc_code evc_xaes_seal(evc_xaes *x, const uint8_t *nonce,
										   const evc_bytes ad[2],
										   const uint8_t *in, size_t len,
										   uint8_t *out, uint8_t *tag, evc_err *err);
EVC_MUST_USE extern evc_code evc_xaes_open(evc_xaes *x, const uint8_t *nonce,
										   const evc_bytes ad[2],
										   const uint8_t *in, size_t len,
										   const uint8_t *tag,
										   uint8_t *out, evc_err *err);

#endif							/* EVC_XAES_H */
