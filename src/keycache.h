/*
 * keycache.h
 *	  This backend's versions, checked and ready to seal and open.
 *
 * What these functions return is good until anything that could touch the
 * catalog runs: use it at once, and ask again for the next value.
 */
#ifndef ENVCRYPT_KEYCACHE_H
#define ENVCRYPT_KEYCACHE_H

#include "catalog.h"
#include "core/version.h"

typedef struct CachedKey CachedKey;

typedef struct CachedVersion
{
	uint8		kvid[EVC_KVID_BYTES];	/* hash key, first */
	CachedKey  *key;
	VersionRow	row;
	bool		prepared;		/* version holds working keys */
	evc_version version;
} CachedVersion;

/*
 * The primary version of a key, for the current role to seal with.  Raises
 * 42704, 42501, 55000 or 58000.  The plaintext is there to tell, when there is
 * no such key, whether the two arguments were swapped.
 */
extern CachedVersion *envcrypt_cache_for_seal(const char *key, size_t keylen,
											  evc_bytes plaintext);

/*
 * The version an envelope names, for the current role to open it.  Raises the
 * same, and 22000 when the key's algorithm does not open the suite.  With
 * may_miss, an unknown or destroyed version is NULL and no error.
 */
extern CachedVersion *envcrypt_cache_for_open(const evc_envelope *env, bool may_miss);

/* Raises 42704 for a name that is no key's, given along with this plaintext. */
extern void envcrypt_refuse_unknown_key(const char *name, evc_bytes plaintext) __attribute__((noreturn));

/* A version by its kvid, for the current role to make search terms with. */
extern CachedVersion *envcrypt_cache_for_search(const uint8 *kvid);

#endif							/* ENVCRYPT_KEYCACHE_H */
