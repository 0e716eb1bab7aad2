/*
 * keyxact.h
 *	  What a key owes to the transaction that makes it.
 */
#ifndef ENVCRYPT_KEYXACT_H
#define ENVCRYPT_KEYXACT_H

#include "catalog.h"

/* To be called once the rows of a new version are written. */
extern void envcrypt_key_made(void);

/*
 * Refuse (55000) to seal with a version that the running transaction made
 * and whose values could outlive it.
 */
extern void envcrypt_require_committed(RowOrigin origin, const char *key);

#endif							/* ENVCRYPT_KEYXACT_H */
