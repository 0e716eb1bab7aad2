/*
 * seal.h
 *	  Sealing and opening of whole values, for SQL functions and triggers.
 */
#ifndef ENVCRYPT_SEAL_H
#define ENVCRYPT_SEAL_H

#include "core/evc.h"
#include "fmgr.h"

/*
 * Seal bytes into a new enc_bytea under the primary version of a key; context
 * NULL binds none.
 */
extern bytea *envcrypt_seal(const char *key, size_t keylen, evc_bytes plaintext,
							const evc_bytes *context);

/*
 * Open an enc_bytea into a new varlena.  With may_miss, NULL takes the place
 * of the errors that try_decrypt() forgives: malformed, authentication,
 * unknown or destroyed key.
 */
extern bytea *envcrypt_open(bytea *value, const evc_bytes *context, bool may_miss);

#endif							/* ENVCRYPT_SEAL_H */
