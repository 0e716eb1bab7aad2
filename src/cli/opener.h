/*
 * opener.h
 *	  Opening sealed values with an export of the keys and a key file.
 */
#ifndef CLI_OPENER_H
#define CLI_OPENER_H

#include "cli/buf.h"
#include "core/version.h"
#include "kms/keyring.h"

typedef struct cli_opener cli_opener;

/* Read an export; "-" is standard input. */
EVC_MUST_USE extern evc_code cli_read_keyring(const char *path, evc_keyring **kr,
											  evc_err *err);

/* Read a key file under the rule of keygen; NULL is the default one. */
EVC_MUST_USE extern evc_code cli_read_keyfile(const char *path, evc_keyfile **kf,
											  evc_err *err);

EVC_MUST_USE extern evc_code cli_opener_new(const char *keyring, const char *keyfile,
											cli_opener **opener, evc_err *err);
extern void cli_opener_free(cli_opener *opener);

/*
 * Open one value into plain.  The context is used when the value has one.
 * EVC_BAD_ARG when the export has no such version.
 */
EVC_MUST_USE extern evc_code cli_open(cli_opener *opener, const evc_envelope *env,
									  const evc_bytes *context, cli_buf *plain,
									  evc_err *err);

#endif							/* CLI_OPENER_H */
