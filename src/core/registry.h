/*
 * registry.h
 *	  The numbers that can never change: suites, algorithms, and the rule for
 *	  names of keys, labels and root keys.
 */
#ifndef EVC_REGISTRY_H
#define EVC_REGISTRY_H

#include "core/evc.h"

/* Envelope byte 1. */
#define EVC_SUITE_XAES			0x01	/* XAES-256-GCM */
#define EVC_SUITE_KC_XAES		0x02	/* key-committing XAES-256-GCM */
#define EVC_SUITE_SIV			0x03	/* AES-256-SIV */
#define EVC_SUITE_XAES_CHUNKED	0x04	/* XAES-256-GCM in chunks */
#define EVC_SUITE_GCM			0x05	/* AES-256-GCM, opened for imports */

/* A key's algorithm. */
#define EVC_ALG_XAES			0x01
#define EVC_ALG_KC_XAES			0x02
#define EVC_ALG_SIV				0x03
#define EVC_ALG_HMAC			0x10
#define EVC_ALG_KEY_WRAP		0x20

#define EVC_NAME_MAX 128

/* The algorithm's name, or NULL when the number is not registered. */
extern const char *evc_algorithm_name(uint8_t algorithm);

/* The algorithm of that exact name, or 0. */
extern uint8_t evc_algorithm_by_name(const char *name);

/* The suite this release seals with under the algorithm, or 0. */
extern uint8_t evc_algorithm_seals(uint8_t algorithm);

/* Whether a key of the algorithm opens envelopes of the suite. */
extern bool evc_algorithm_opens(uint8_t algorithm, uint8_t suite);

/* Whether the text is 1 to 128 characters of [A-Za-z0-9_.:@/-]. */
extern bool evc_name_valid(const char *name, size_t len);

#endif							/* EVC_REGISTRY_H */
