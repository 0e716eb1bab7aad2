/*
 * f_envelope.c
 *	  Fuzzes reading an envelope, and opening it under fixed keys.
 *
 * What parses must be the sum of its parts, and what opens must be one of the
 * values sealed here with no context or with the one below: suite 03 is
 * deterministic, so sealing the plaintext again gives the same bytes; for
 * suite 01 the nonce is public and the subkey is not, so an input that opens
 * is one of the seeds.
 */
#include <stdlib.h>
#include <string.h>

#include "core/codec.h"
#include "core/version.h"

#define REQUIRE(condition) ((condition) ? (void) 0 : abort())

static const uint8_t kvid[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const evc_bytes context = {(const uint8_t *) "8:customer,2:42,", 16};
static evc_version versions[2];

/* The nonce of every genuine envelope of suite 01: docs/envelope.md. */
static bool
published_nonce(const uint8_t *nonce)
{
	for (int i = 0; i < EVC_NONCE_BYTES; i++)
	{
		if (nonce[i] != 0x40 + i)
			return false;
	}
	return true;
}

static void
prepare(void)
{
	evc_key		secret;

	for (uint8_t i = 0; i < sizeof(secret.b); i++)
		secret.b[i] = i;
	REQUIRE(evc_version_init(&versions[0], EVC_ALG_XAES, kvid, &secret, NULL) == EVC_OK);
	REQUIRE(evc_version_init(&versions[1], EVC_ALG_SIV, kvid, &secret, NULL) == EVC_OK);
}

/* The parts follow each other and end where the input does. */
static void
check_parts(const evc_envelope *env, const uint8_t *data, size_t size)
{
	uint8_t		header[EVC_HEADER_BYTES];
	const uint8_t *end = env->body.data + env->body.len;

	evc_envelope_header(env->suite, env->flags, env->kvid, header);
	REQUIRE(memcmp(header, data, sizeof(header)) == 0);
	REQUIRE(env->nonce.data == data + EVC_HEADER_BYTES);
	REQUIRE(env->body.data == env->nonce.data + env->nonce.len);
	REQUIRE(env->tag == NULL || env->tag == end);
	if (env->tag != NULL)
		end += EVC_TAG_BYTES;
	if (env->suite == EVC_SUITE_KC_XAES)
		end += 32;
	REQUIRE(end == data + size);
	REQUIRE(evc_envelope_plaintext_len(env) <= env->body.len);
	if (evc_suite_overhead(env->suite) != 0)
		REQUIRE(evc_envelope_plaintext_len(env) + evc_suite_overhead(env->suite) == size);
}

static void
check_opened(evc_version *v, const evc_envelope *env, const evc_bytes *ctx,
			 const uint8_t *plaintext, size_t len, const uint8_t *data, size_t size)
{
	uint8_t    *again;

	if (env->suite == EVC_SUITE_XAES)
		REQUIRE(published_nonce(env->nonce.data));
	else if ((env->flags & EVC_FLAG_PADDED) == 0)
	{
		REQUIRE((again = malloc(size)) != NULL);
		REQUIRE(evc_seal(v, 1, plaintext, len, ctx, again, NULL) == EVC_OK);
		REQUIRE(memcmp(again, data, size) == 0);
		free(again);
	}
}

/* The same bytes as text are judged the same. */
static void
check_text(evc_code verdict, const uint8_t *data, size_t size)
{
	char	   *text = malloc(2 * size + 2);
	uint8_t    *back = malloc(size + 1);
	size_t		len = 0;

	REQUIRE(text != NULL && back != NULL);
	memcpy(text, "\\x", 2);
	evc_hex_encode(data, size, text + 2);
	REQUIRE(evc_envelope_from_text(text, 2 * size + 2, back, size, &len, NULL) == verdict);
	REQUIRE(len == size && memcmp(back, data, size) == 0);
	free(text);
	free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	evc_envelope env;
	evc_err		err = EVC_ERR_INIT;
	evc_code	verdict = evc_envelope_parse(data, size, &env, &err);
	uint8_t    *out;
	size_t		len;

	check_text(verdict, data, size);
	if (verdict != EVC_OK)
	{
		REQUIRE(verdict == EVC_MALFORMED && err.code == verdict && err.msg[0] != '\0');
		return 0;
	}
	if (versions[0].algorithm == 0)
		prepare();
	check_parts(&env, data, size);

	REQUIRE((out = malloc(env.body.len + 1)) != NULL);
	for (int i = 0; i < 4; i++)
	{
		const evc_bytes *ctx = i % 2 == 0 ? NULL : &context;

		if (evc_open(&versions[i / 2], &env, ctx, out, &len, &err) == EVC_OK)
			check_opened(&versions[i / 2], &env, ctx, out, len, data, size);
	}
	free(out);
	return 0;
}
