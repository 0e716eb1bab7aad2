/*
 * envelope.c
 *	  Reading the bytes of a sealed value.
 */
#include "core/envelope.h"

#include "core/codec.h"
#include "core/cursor.h"

#define SEALED_CHUNK_BYTES	(EVC_CHUNK_BYTES + EVC_TAG_BYTES)

/* What follows the header, front and back of the ciphertext. */
typedef struct suite_layout
{
	uint8_t		suite;
	uint8_t		nonce;			/* bytes; suite 03: the SIV */
	uint8_t		tag;
	uint8_t		commitment;
} suite_layout;

static const suite_layout layouts[] = {
	{EVC_SUITE_XAES, EVC_NONCE_BYTES, EVC_TAG_BYTES, 0},
	{EVC_SUITE_KC_XAES, EVC_NONCE_BYTES, EVC_TAG_BYTES, 32},
	{EVC_SUITE_SIV, EVC_TAG_BYTES, 0, 0},
	{EVC_SUITE_XAES_CHUNKED, EVC_NONCE_BYTES, 0, 0},
	{EVC_SUITE_GCM, 12, EVC_TAG_BYTES, 0},
};

static const suite_layout *
find_layout(uint8_t suite)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
	{
		if (layouts[i].suite == suite)
			return &layouts[i];
	}
	return NULL;
}

static bool
valid_kvid(const uint8_t *kvid)
{
	uint8_t		any = 0x00;
	uint8_t		all = 0xff;

	for (int i = 0; i < EVC_KVID_BYTES; i++)
	{
		any |= kvid[i];
		all &= kvid[i];
	}
	return any != 0x00 && all != 0xff;
}

/* The rule a header breaks, or NULL. */
static const char *
header_fault(const uint8_t *h, const suite_layout *layout)
{
	if (h[0] != EVC_MAGIC)
		return "wrong first byte";
	if (layout == NULL)
		return "unregistered suite";
	if ((h[2] & ~(EVC_FLAG_CONTEXT | EVC_FLAG_PADDED)) != 0)
		return "unknown flag";
	if (h[3] != 0)
		return "reserved byte is not zero";
	if (!valid_kvid(h + 4))
		return "invalid key version id";
	return NULL;
}

/* Every chunk has a tag, so the last, which is shorter, has at least that. */
static bool
valid_chunks(size_t len)
{
	return len % SEALED_CHUNK_BYTES >= EVC_TAG_BYTES;
}

evc_code
evc_envelope_parse(const uint8_t *buf, size_t len, evc_envelope *env, evc_err *err)
{
	evc_reader	r = evc_reader_on(buf, len);
	const uint8_t *h = evc_read_bytes(&r, EVC_HEADER_BYTES);
	const suite_layout *layout;
	const char *fault;

	if (h == NULL)
		return evc_fail(err, EVC_MALFORMED, "malformed envelope: shorter than a header");
	layout = find_layout(h[1]);
	if ((fault = header_fault(h, layout)) != NULL)
		return evc_fail(err, EVC_MALFORMED, "malformed envelope: %s", fault);

	env->header = h;
	env->kvid = h + 4;
	env->suite = h[1];
	env->flags = h[2];
	env->nonce.data = evc_read_bytes(&r, layout->nonce);
	env->nonce.len = layout->nonce;
	env->body = evc_read_all_but(&r, layout->tag + layout->commitment);
	env->tag = layout->tag != 0 ? evc_read_bytes(&r, layout->tag) : NULL;
	if (r.failed)
		return evc_fail(err, EVC_MALFORMED, "malformed envelope: shorter than its suite allows");
	if (env->suite == EVC_SUITE_XAES_CHUNKED && !valid_chunks(env->body.len))
		return evc_fail(err, EVC_MALFORMED, "malformed envelope: last chunk is shorter than a tag");
	return EVC_OK;
}

evc_code
evc_envelope_from_text(const char *text, size_t len, uint8_t *out, size_t cap,
					   size_t *outlen, evc_err *err)
{
	evc_envelope env;
	evc_code	code;

	if (len < 2 || text[0] != '\\' || text[1] != 'x')
		return evc_fail(err, EVC_MALFORMED, "malformed envelope: text does not start with \\x");
	if ((code = evc_hex_decode(text + 2, len - 2, out, cap, outlen, err)) != EVC_OK)
		return code;
	return evc_envelope_parse(out, *outlen, &env, err);
}

size_t
evc_envelope_plaintext_len(const evc_envelope *env)
{
	size_t		chunks;

	if (env->suite != EVC_SUITE_XAES_CHUNKED)
		return env->body.len;
	chunks = env->body.len / SEALED_CHUNK_BYTES + 1;
	return env->body.len - chunks * EVC_TAG_BYTES;
}

void
evc_envelope_header(uint8_t suite, uint8_t flags, const uint8_t *kvid, uint8_t *out)
{
	evc_writer	w = evc_writer_on(out, EVC_HEADER_BYTES);

	evc_write_u8(&w, EVC_MAGIC);
	evc_write_u8(&w, suite);
	evc_write_u8(&w, flags);
	evc_write_u8(&w, 0);
	evc_write_bytes(&w, kvid, EVC_KVID_BYTES);
}

size_t
evc_suite_overhead(uint8_t suite)
{
	const suite_layout *layout = find_layout(suite);

	if (suite != EVC_SUITE_XAES && suite != EVC_SUITE_SIV)
		return 0;
	return (size_t) EVC_HEADER_BYTES + layout->nonce + layout->tag;
}
