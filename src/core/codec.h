/*
 * codec.h
 *	  Strict text encodings.  No function ever shows its input in a message.
 */
#ifndef EVC_CODEC_H
#define EVC_CODEC_H

#include "core/evc.h"

/*
 * Decode pairs of hexadecimal digits of either case and nothing else.  Takes
 * a time that depends on len alone, since key files hold secrets in this form.
 * EVC_MALFORMED for an odd length or another character, EVC_TOO_LONG when the
 * result does not fit in cap; then out is wiped.
 */
EVC_MUST_USE extern evc_code evc_hex_decode(const char *text, size_t len,
											uint8_t *out, size_t cap,
											size_t *outlen, evc_err *err);

/* Write 2 * len lower-case digits; there is no terminating zero. */
extern void evc_hex_encode(const uint8_t *in, size_t len, char *out);

#endif							/* EVC_CODEC_H */
