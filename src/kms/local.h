/*
 * local.h
 *	  The local provider: root keys in a file on this node.
 *
 * The file's format and the rule for its owner, mode and place are in
 * docs/keys.md.  Used by the server module and by the command-line tool.
 */
#ifndef EVC_LOCAL_H
#define EVC_LOCAL_H

#include "core/wrap.h"
#include "kms/securefile.h"

#define EVC_LOCAL_WRAP_BYTES	69
#define EVC_ROOT_ID_BYTES		8

/* Where the key file lies unless a setting says otherwise. */
#define EVC_KEYFILE_DEFAULT		"~/.envcrypt/root-keys.json"

typedef struct evc_keyfile evc_keyfile;

/*
 * Read, check and parse the key file.  EVC_FILE_MISSING, EVC_FILE_UNSAFE,
 * EVC_FILE_FORMAT and EVC_FILE_ERROR name the path and what is wrong.
 */
EVC_MUST_USE extern evc_code evc_keyfile_open(const char *path,
											  const evc_file_rule *rule,
											  evc_keyfile **kf, evc_err *err);

/* Parse the text of a key file.  Secrets in the text are the caller's to wipe. */
EVC_MUST_USE extern evc_code evc_keyfile_parse(const char *text, size_t len,
											   evc_keyfile **kf, evc_err *err);

/* Wipe and free; NULL is allowed. */
extern void evc_keyfile_free(evc_keyfile *kf);

/*
 * Wrap a secret under the primary version of the root key NAME (the part
 * after "local:").  EVC_NO_ROOT_KEY when the file has none of that name.
 */
EVC_MUST_USE extern evc_code evc_local_wrap(const evc_keyfile *kf, const char *name,
											const evc_binding *b, const evc_key *secret,
											uint8_t *out, evc_err *err);

/* Open a wrap made by evc_local_wrap; EVC_BAD_WRAP when it is not one of b's. */
EVC_MUST_USE extern evc_code evc_local_unwrap(const evc_keyfile *kf, const char *name,
											  const evc_binding *b,
											  const uint8_t *wrap, size_t len,
											  evc_key *secret, evc_err *err);

/* The part of ENDPOINT:KEY after "local:", or NULL for another endpoint. */
extern const char *evc_local_name(const char *root_key);

/*
 * The secret of b's version from its wrap under ROOT_KEY, held to the
 * commitment.  On success the caller wipes it; on failure there is none.
 * EVC_NO_ROOT_KEY for another endpoint than local, EVC_BAD_COMMITMENT, and
 * what evc_local_unwrap() gives.
 */
EVC_MUST_USE extern evc_code evc_local_secret(const evc_keyfile *kf, const char *root_key,
											  const evc_binding *b,
											  const uint8_t *wrap, size_t len,
											  const uint8_t *commitment,
											  evc_key *secret, evc_err *err);

#endif							/* EVC_LOCAL_H */
