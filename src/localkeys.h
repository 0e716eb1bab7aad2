/*
 * localkeys.h
 *	  Root keys of the "local" endpoint, as the server reaches them.
 */
#ifndef ENVCRYPT_LOCALKEYS_H
#define ENVCRYPT_LOCALKEYS_H

#include "kms/local.h"

/*
 * Open the key file named by envcrypt.local_key_file.  Raises nothing for
 * what is wrong with the file: that is in err.  The caller frees *kf and
 * raises nothing while it holds it.
 */
extern evc_code envcrypt_local_open(evc_keyfile **kf, evc_err *err);

#endif							/* ENVCRYPT_LOCALKEYS_H */
