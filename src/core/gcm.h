/*
 * gcm.h
 *	  AES-256-GCM under a keyed context.
 */
#ifndef EVC_GCM_H
#define EVC_GCM_H

#include "core/cipher.h"

#define EVC_GCM_IV_BYTES	12

/*
 * Seal or open len bytes; out may be in.  One context serves both directions.
 * The associated data come in two pieces.  On failure out is wiped.
 */
EVC_MUST_USE extern evc_code evc_gcm_seal(evc_cipher *gcm, const uint8_t *iv,
										  const evc_bytes ad[2],
										  const uint8_t *in, size_t len,
										  uint8_t *out, uint8_t *tag, evc_err *err);
EVC_MUST_USE extern evc_code evc_gcm_open(evc_cipher *gcm, const uint8_t *iv,
										  const evc_bytes ad[2],
										  const uint8_t *in, size_t len,
										  const uint8_t *tag,
										  uint8_t *out, evc_err *err);

#endif							/* EVC_GCM_H */
