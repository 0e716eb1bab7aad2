/*
 * catalog.h
 *	  Reading the key tables.
 *
 * Rows are read with a catalog snapshot taken for the read, never with the
 * statement's: a revoked grant or a disabled key holds in a REPEATABLE READ
 * transaction too.
 */
#ifndef ENVCRYPT_CATALOG_H
#define ENVCRYPT_CATALOG_H

#include "core/wrap.h"
#include "nodes/pg_list.h"

typedef enum VersionState
{
	VERSION_PENDING,
	VERSION_PRIMARY,
	VERSION_DECRYPT_ONLY,
	VERSION_DISABLED,
	VERSION_DESTROY_SCHEDULED,
	VERSION_DESTROYED
} VersionState;

/* Whether the running transaction wrote a row, and at which level. */
typedef enum RowOrigin
{
	ROW_COMMITTED,
	ROW_OWN_TOP,
	ROW_OWN_SUB
} RowOrigin;

typedef struct KeyRow
{
	char		name[EVC_NAME_MAX + 1];
	char		label[EVC_NAME_MAX + 1];
	uint8		algorithm;		/* 0 when of a newer release */
	bool		enabled;
} KeyRow;

typedef struct VersionRow
{
	uint8		kvid[EVC_KVID_BYTES];
	char		key[EVC_NAME_MAX + 1];
	int32		number;
	VersionState state;
	uint8		algorithm;
	uint8		commitment[EVC_COMMITMENT_BYTES];
	RowOrigin	origin;
} VersionRow;

typedef struct WrapRow
{
	char	   *root_key;
	bytea	   *wrapped;
} WrapRow;

/* The tables whose changes reach caches, in the order of catalog.c's names. */
#define KEY_TABLES 4

extern bool envcrypt_is_key_table(Oid relid);

extern bool envcrypt_read_key(const char *name, KeyRow *row);

/* The same for what may not be the name of a key at all. */
extern bool envcrypt_find_key(const char *key, size_t keylen, KeyRow *row);

extern bool envcrypt_read_version(const uint8 *kvid, VersionRow *row);
extern List *envcrypt_read_versions(const char *key);	/* of VersionRow * */
extern List *envcrypt_read_wraps(const uint8 *kvid);	/* of WrapRow * */

/*
 * What a role may do with a key, as KEY_PRIV_ bits: everything for a
 * superuser; "encrypt" on a key that can be searched implies "search".
 */
extern uint8 envcrypt_read_privileges(const KeyRow *key, Oid role);

/* Whether a grant of the key names that role by name or OID, and not by both. */
extern bool envcrypt_has_inert_grant(const char *key, const char *role);

extern const char *envcrypt_state_name(VersionState state);

#endif							/* ENVCRYPT_CATALOG_H */
