/*
 * envelope.h
 *	  Reading and writing the bytes of a sealed value.
 *
 *	offset	bytes
 *	0		1		magic EC
 *	1		1		suite
 *	2		1		flags: bit 0 a context was bound, bit 1 padded
 *	3		1		00
 *	4		8		kvid, neither 0 nor ffffffffffffffff
 *	12		..		01: nonce 24, ciphertext n, tag 16
 *					02: nonce 24, ciphertext n, tag 16, commitment 32
 *					03: SIV 16, ciphertext n
 *					04: nonce 24, chunks of at most 16384 + 16, last shorter
 *					05: nonce 12, ciphertext n, tag 16
 *
 * docs/envelope.md is the specification.
 */
#ifndef EVC_ENVELOPE_H
#define EVC_ENVELOPE_H

#include "core/registry.h"

#define EVC_MAGIC			0xEC
#define EVC_FLAG_CONTEXT	0x01
#define EVC_FLAG_PADDED		0x02
#define EVC_HEADER_BYTES	12
#define EVC_KVID_BYTES		8
#define EVC_TAG_BYTES		16
#define EVC_NONCE_BYTES		24
#define EVC_CHUNK_BYTES		16384	/* plaintext of a chunk of suite 04 */

/* A well-formed envelope, pointing into the bytes it was read from. */
typedef struct evc_envelope
{
	const uint8_t *header;		/* 12 bytes */
	const uint8_t *kvid;		/* 8 bytes inside the header */
	uint8_t		suite;
	uint8_t		flags;
	evc_bytes	nonce;			/* suite 03: the SIV */
	evc_bytes	body;			/* ciphertext; suite 04: all chunks */
	const uint8_t *tag;			/* 16 bytes; NULL for suites 03 and 04 */
} evc_envelope;

/*
 * Read an envelope of any registered suite.  Looks at nothing but the bytes:
 * no key, no catalog.  EVC_MALFORMED says which rule was broken and never
 * shows the bytes.
 */
EVC_MUST_USE extern evc_code evc_envelope_parse(const uint8_t *buf, size_t len,
												evc_envelope *env, evc_err *err);

/*
 * Read \x and hexadecimal digits, the only text form of a sealed value, into
 * out, which has cap bytes; (len - 2) / 2 are enough.  What comes out has
 * passed evc_envelope_parse.
 */
EVC_MUST_USE extern evc_code evc_envelope_from_text(const char *text, size_t len,
													uint8_t *out, size_t cap,
													size_t *outlen, evc_err *err);

/*
 * Bytes of plaintext inside: exact, or for a padded envelope the padded
 * length.
 */
extern size_t evc_envelope_plaintext_len(const evc_envelope *env);

/* Write the header; out has EVC_HEADER_BYTES. */
extern void evc_envelope_header(uint8_t suite, uint8_t flags, const uint8_t *kvid,
								uint8_t *out);

/* Bytes a suite this release seals (01, 03) adds to a plaintext: 52 or 28. */
extern size_t evc_suite_overhead(uint8_t suite);

#endif							/* EVC_ENVELOPE_H */
