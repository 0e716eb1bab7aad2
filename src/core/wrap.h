/*
 * wrap.h
 *	  What a wrap holds, what it is bound to, and the catalog's commitment.
 *
 * The 44-byte payload is the plaintext of every wrap:
 *	  01 | 01 | algorithm | 00 | kvid (8) | secret (32)
 * B, the bytes every root key that can binds to it, is
 *	  "envcrypt/wrap/v1" | algorithm | kvid (8) | be16(len label) | label
 */
#ifndef EVC_WRAP_H
#define EVC_WRAP_H

#include "core/envelope.h"
#include "core/secret.h"

#define EVC_PAYLOAD_BYTES		44
#define EVC_COMMITMENT_BYTES	32
#define EVC_BINDING_MAX			(16 + 1 + 8 + 2 + EVC_NAME_MAX)

/* What a wrap is bound to: never cluster, owner, state, number or time. */
typedef struct evc_binding
{
	uint8_t		algorithm;
	uint8_t		kvid[EVC_KVID_BYTES];
	evc_bytes	label;			/* a valid name */
} evc_binding;

/* The binding of a version; label stays the caller's and is a valid name. */
extern evc_binding evc_binding_of(uint8_t algorithm, const uint8_t *kvid,
								  const char *label);

/* Write B; returns its length.  out has EVC_BINDING_MAX bytes. */
extern size_t evc_binding_bytes(const evc_binding *b, uint8_t *out);

extern void evc_payload_write(const evc_binding *b, const evc_key *secret,
							  uint8_t *out);

/* Every byte and the length are checked; EVC_BAD_WRAP otherwise. */
EVC_MUST_USE extern evc_code evc_payload_read(const evc_binding *b,
											  const uint8_t *payload, size_t len,
											  evc_key *secret, evc_err *err);

/* HKDF-Expand(secret, "commit" | algorithm | kvid): names a secret publicly. */
EVC_MUST_USE extern evc_code evc_commitment(uint8_t algorithm, const uint8_t *kvid,
											const evc_key *secret,
											uint8_t *out, evc_err *err);

#endif							/* EVC_WRAP_H */
