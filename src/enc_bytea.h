/*
 * enc_bytea.h
 *	  What the type's files share.
 */
#ifndef ENVCRYPT_ENC_BYTEA_H
#define ENVCRYPT_ENC_BYTEA_H

#include "core/registry.h"
#include "fmgr.h"

/*
 * The suite of an enc_bytea, from its first bytes: a long value that is
 * stored out of line is not fetched for it.
 */
extern uint8 envcrypt_datum_suite(Datum value);

/* Refuse (22023) a value of that suite where the type modifier forbids it. */
extern void envcrypt_check_typmod(uint8 suite, int32 typmod);

#endif							/* ENVCRYPT_ENC_BYTEA_H */
