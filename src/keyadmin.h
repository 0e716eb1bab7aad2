/*
 * keyadmin.h
 *	  Making and managing keys.
 */
#ifndef ENVCRYPT_KEYADMIN_H
#define ENVCRYPT_KEYADMIN_H

#include "catalog.h"
#include "fmgr.h"

/*
 * The key named by argument 0, locked against other changers, for a caller
 * that may manage it; raises otherwise.  what names the function to a standby.
 */
extern void envcrypt_key_to_manage(FunctionCallInfo fcinfo, const char *what, KeyRow *row);

/* grants.c: add privileges to a grantee's row; public has OID 0 */
extern void envcrypt_add_grant(const char *key, const char *grantee, Oid grantee_oid, uint8 bits);

#endif							/* ENVCRYPT_KEYADMIN_H */
