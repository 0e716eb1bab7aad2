/*
 * selftest.h
 *	  What a process's AES contexts must show before they are used.
 */
#ifndef EVC_SELFTEST_H
#define EVC_SELFTEST_H

#include "core/cipher.h"

/* Whether a GCM context gives the published answers and refuses forgeries. */
extern bool evc_selftest_gcm(evc_cipher *gcm);

/* Whether two contexts of one mode do the same, the second as published. */
extern bool evc_selftest_agree(evc_mode mode, evc_cipher *a, evc_cipher *b);

#endif							/* EVC_SELFTEST_H */
