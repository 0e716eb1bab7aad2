/*
 * exportread.h
 *	  The JSON of export_keyring(), read and checked, in palloc'd memory.
 */
#ifndef ENVCRYPT_EXPORTREAD_H
#define ENVCRYPT_EXPORTREAD_H

#include "catalog.h"
#include "datatype/timestamp.h"

typedef struct ExportedWrap
{
	char	   *root_key;
	uint8	   *wrapped;
	size_t		len;
	TimestampTz verified_at;
	bool		verified;		/* verified_at is set */
	bool		present;		/* here already: for keyimport.c, as below */
	bool		proven;			/* opened here and now */
} ExportedWrap;

typedef struct ExportedVersion
{
	char		hex[2 * EVC_KVID_BYTES + 1];	/* the kvid, for messages */
	uint8		kvid[EVC_KVID_BYTES];
	int32		number;
	VersionState state;
	bool		compromised;
	uint8		commitment[EVC_COMMITMENT_BYTES];
	uint8	   *origin;			/* NULL when there is none */
	size_t		origin_len;
	TimestampTz created_at;
	TimestampTz changed_at;
	List	   *wraps;			/* of ExportedWrap * */
	bool		present;
} ExportedVersion;

typedef struct ExportedKey
{
	char	   *name;
	char	   *label;
	uint8		algorithm;
	bool		enabled;
	List	   *root_keys;		/* of char * */
	TimestampTz created_at;
	List	   *versions;		/* of ExportedVersion *, by number */
	bool		present;
} ExportedKey;

/*
 * The keys of an export.  22023 names the field that is not of its form, and
 * never shows what is in it; 0A000 for what only a newer release knows.
 */
extern List *envcrypt_read_export(text *json);	/* of ExportedKey * */

#endif							/* ENVCRYPT_EXPORTREAD_H */
