/*
 * keyfile.h
 *	  The content of the local key file, for those who look inside: local.c and
 *	  the command-line tool.  Everybody else uses local.h.
 */
#ifndef EVC_KEYFILE_H
#define EVC_KEYFILE_H

#include <time.h>

#include "kms/local.h"

#define EVC_KEYFILE_MAX			(1024 * 1024)	/* bytes of text */
#define EVC_ROOT_CHECK_BYTES	8
#define EVC_ROOT_CREATED_BYTES	20				/* 2026-11-21T00:00:00Z */

typedef struct evc_root_version
{
	uint8_t		id[EVC_ROOT_ID_BYTES];
	char		created[EVC_ROOT_CREATED_BYTES + 1];
	bool		enabled;
	evc_key		secret;
} evc_root_version;

typedef struct evc_root_key
{
	char		name[EVC_NAME_MAX + 1];
	size_t		primary;		/* index of an enabled version */
	size_t		nversions;
	evc_root_version *versions;
} evc_root_key;

struct evc_keyfile
{
	size_t		nkeys;
	evc_root_key *keys;
};

/* The root key of that name, or NULL. */
extern const evc_root_key *evc_keyfile_find(const evc_keyfile *kf, const char *name);

/* Its version of that id, or NULL. */
extern const evc_root_version *evc_root_key_version(const evc_root_key *key,
													const uint8_t *id);

/*
 * The two things derived from a root secret: the AES-256-SIV keys that wrap,
 * and the check value that shows a damaged file.
 */
EVC_MUST_USE extern evc_code evc_root_wrap_keys(const evc_root_version *v,
												evc_key keys[2], evc_err *err);
EVC_MUST_USE extern evc_code evc_root_check(const evc_root_version *v,
											uint8_t *check, evc_err *err);

/* A key file without root keys, and one more root key with a fresh secret. */
EVC_MUST_USE extern evc_code evc_keyfile_new(evc_keyfile **kf, evc_err *err);
EVC_MUST_USE extern evc_code evc_keyfile_add(evc_keyfile *kf, const char *name,
											 time_t now, evc_err *err);

/* The text of the file, to be freed with evc_secret_text_free. */
EVC_MUST_USE extern evc_code evc_keyfile_serialize(const evc_keyfile *kf,
												   evc_secret_text *text,
												   evc_err *err);

#endif							/* EVC_KEYFILE_H */
