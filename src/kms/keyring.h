/*
 * keyring.h
 *	  The export of a database's keys, as envcrypt.export_keyring() prints it.
 *
 * Names, states, commitments and wraps; no secret.  The format is in
 * docs/keys.md.  Read here for the command-line tool, which opens values
 * with an export and a key file and nothing else.
 */
#ifndef EVC_KEYRING_H
#define EVC_KEYRING_H

#include "kms/local.h"

#define EVC_KEYRING_MAX			(64 * 1024 * 1024)	/* bytes of text */
#define EVC_KEYRING_WRAP_MAX	16384	/* bytes of a wrap */
#define EVC_ROOT_KEY_MAX		512 /* characters of ENDPOINT:KEY */
#define EVC_STATE_MAX			20

typedef struct evc_keyring_wrap
{
	char		root_key[EVC_ROOT_KEY_MAX + 1];
	uint8_t    *wrapped;
	size_t		len;
} evc_keyring_wrap;

typedef struct evc_keyring_version
{
	uint8_t		kvid[EVC_KVID_BYTES];
	int			number;
	char		state[EVC_STATE_MAX];
	uint8_t		commitment[EVC_COMMITMENT_BYTES];
	size_t		nwraps;
	evc_keyring_wrap *wraps;
} evc_keyring_version;

typedef struct evc_keyring_key
{
	char		name[EVC_NAME_MAX + 1];
	char		label[EVC_NAME_MAX + 1];
	uint8_t		algorithm;
	size_t		nversions;
	evc_keyring_version *versions;
} evc_keyring_key;

typedef struct evc_keyring_entry
{
	const evc_keyring_key *key;
	const evc_keyring_version *version;
} evc_keyring_entry;

typedef struct evc_keyring
{
	size_t		nkeys;
	evc_keyring_key *keys;
	size_t		nentries;		/* every version of every key, by kvid */
	evc_keyring_entry *entries;
} evc_keyring;

/* Parse an export; EVC_FILE_FORMAT says what is wrong and shows no value. */
EVC_MUST_USE extern evc_code evc_keyring_parse(const char *text, size_t len,
											   evc_keyring **kr, evc_err *err);

/* NULL is allowed. */
extern void evc_keyring_free(evc_keyring *kr);

/* Which of kr->entries has the kvid; nentries when none has. */
extern size_t evc_keyring_find(const evc_keyring *kr, const uint8_t *kvid);

/*
 * Open one wrap with the key file and compare the version's commitment.
 * EVC_NO_ROOT_KEY for a root key of another endpoint.  The caller wipes the
 * secret.
 */
EVC_MUST_USE extern evc_code evc_keyring_unwrap(const evc_keyring_entry *entry,
												const evc_keyring_wrap *wrap,
												const evc_keyfile *kf,
												evc_key *secret, evc_err *err);

#endif							/* EVC_KEYRING_H */
