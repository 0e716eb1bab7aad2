/*
 * version.c
 *	  Preparing a key version; sealing and opening with it.
 */
#include "core/version.h"

#include <limits.h>
#include <string.h>

#include "core/cipher.h"
#include "core/cursor.h"
#include "core/kdf.h"

#define AD_HEAD_BYTES 32

evc_code
evc_version_init(evc_version *v, uint8_t algorithm, const uint8_t *kvid,
				 const evc_key *secret, evc_err *err)
{
	uint8_t		suite = evc_algorithm_seals(algorithm);
	evc_key		keys[2] = {{{0}}, {{0}}};
	evc_code	code;

	memset(v, 0, sizeof(*v));
	if (suite == 0)
		return evc_fail(err, EVC_BAD_ARG, "this release does not seal with the algorithm");
	memcpy(v->kvid, kvid, sizeof(v->kvid));
	v->algorithm = algorithm;

	code = evc_working_key(EVC_PURPOSE_SEAL, suite, kvid, secret, keys,
						   suite == EVC_SUITE_SIV ? 2 : 1, err);
	if (code == EVC_OK)
		code = suite == EVC_SUITE_SIV ?
			evc_siv_init(&v->siv, keys, err) : evc_xaes_init(&v->xaes, &keys[0], err);
	if (code == EVC_OK && suite == EVC_SUITE_XAES)
		code = evc_working_key(EVC_PURPOSE_NONCE, 0, kvid, secret, &v->nonce.hedge, 1, err);

	evc_wipe(keys, sizeof(keys));
	if (code != EVC_OK)
		evc_version_clear(v);
	return code;
}

void
evc_version_clear(evc_version *v)
{
	evc_xaes_clear(&v->xaes);
	evc_siv_clear(&v->siv);
	evc_wipe(v, sizeof(*v));
}

/*
 * The associated data: "envcrypt/v1" 00 | 0000000c | header | be32(len C) | C.
 * The 32 bytes before C go to head, C stays where it is.
 */
static void
associate(const uint8_t *header, const evc_bytes *context,
		  uint8_t head[AD_HEAD_BYTES], evc_bytes ad[2])
{
	static const char label[12] = "envcrypt/v1";
	evc_writer	w = evc_writer_on(head, AD_HEAD_BYTES);

	ad[0] = (evc_bytes) {head, AD_HEAD_BYTES};
	ad[1] = context != NULL ? *context : (evc_bytes) {NULL, 0};
	evc_write_bytes(&w, label, sizeof(label));
	evc_write_be32(&w, EVC_HEADER_BYTES);
	evc_write_bytes(&w, header, EVC_HEADER_BYTES);
	evc_write_be32(&w, (uint32_t) ad[1].len);
}

/* The lengths OpenSSL takes, and a context's length fits its four bytes. */
static evc_code
check_lengths(size_t len, const evc_bytes *context, evc_err *err)
{
	if (len > INT_MAX || (context != NULL && context->len > INT_MAX))
		return evc_fail(err, EVC_TOO_LONG, "value or context is too long");
	return EVC_OK;
}

evc_code
evc_seal(evc_version *v, uint64_t xact, const uint8_t *plaintext, size_t len,
		 const evc_bytes *context, uint8_t *out, evc_err *err)
{
	uint8_t		head[AD_HEAD_BYTES];
	uint8_t    *body = out + EVC_HEADER_BYTES;
	evc_bytes	ad[2];
	evc_code	code;

	if (context != NULL && context->len == 0)
		return evc_fail(err, EVC_CONTEXT_EMPTY, "context must not be null or empty");
	if ((code = check_lengths(len, context, err)) != EVC_OK)
		return code;

	evc_envelope_header(evc_algorithm_seals(v->algorithm),
						context != NULL ? EVC_FLAG_CONTEXT : 0, v->kvid, out);
	associate(out, context, head, ad);
	if (v->algorithm == EVC_ALG_SIV)
		return evc_siv_seal(&v->siv, ad, plaintext, len,
							body, body + EVC_SIV_BYTES, err);

	if ((code = evc_nonce_next(&v->nonce, xact, len, body, err)) != EVC_OK)
		return code;
	body += EVC_NONCE_BYTES;
	return evc_xaes_seal(&v->xaes, out + EVC_HEADER_BYTES, ad, plaintext, len,
						 body, body + len, err);
}

evc_code
evc_open_precheck(const evc_envelope *env, const evc_bytes *context, evc_err *err)
{
	bool		bound = (env->flags & EVC_FLAG_CONTEXT) != 0;

	if (env->suite != EVC_SUITE_XAES && env->suite != EVC_SUITE_SIV)
		return evc_fail(err, EVC_NEWER_SUITE, "suite %u needs a newer envcrypt",
						(unsigned int) env->suite);
	if (context != NULL && context->len == 0)
		return evc_fail(err, EVC_CONTEXT_EMPTY, "context must not be null or empty");
	if (bound && context == NULL)
		return evc_fail(err, EVC_CONTEXT_MISSING,
						"the value was sealed with a context and none was given");
	if (!bound && context != NULL)
		return evc_fail(err, EVC_CONTEXT_NEEDLESS,
						"a context was given and the value was sealed without one");
	return EVC_OK;
}

/*
 * The length without 80 00*, or SIZE_MAX where there is no 80.  Every byte is
 * looked at and none decides a branch: how long a padded value is, is what
 * padding hides.
 */
static size_t
unpadded_len(const uint8_t *p, size_t len)
{
	size_t		result = SIZE_MAX;
	size_t		looking = SIZE_MAX; /* all ones until a byte is not zero */

	for (size_t i = len; i-- > 0;)
	{
		size_t		b = p[i];
		size_t		is_marker = 0 - (((b ^ 0x80) - 1) >> (sizeof(size_t) * 8 - 1));
		size_t		is_zero = 0 - ((b - 1) >> (sizeof(size_t) * 8 - 1));
		size_t		found = looking & is_marker;

		result = (result & ~found) | (i & found);
		looking &= is_zero;
	}
	return result;
}

evc_code
evc_open(evc_version *v, const evc_envelope *env, const evc_bytes *context,
		 uint8_t *out, size_t *outlen, evc_err *err)
{
	uint8_t		head[AD_HEAD_BYTES];
	size_t		len = env->body.len;
	size_t		kept = len;
	evc_bytes	ad[2];
	evc_code	code;

	if ((code = evc_open_precheck(env, context, err)) != EVC_OK ||
		(code = check_lengths(len, context, err)) != EVC_OK)
		return code;
	if (!evc_algorithm_opens(v->algorithm, env->suite))
		return evc_fail(err, EVC_WRONG_SUITE, "the key's algorithm does not open suite %u",
						(unsigned int) env->suite);

	associate(env->header, context, head, ad);
	if (env->suite == EVC_SUITE_SIV)
		code = evc_siv_open(&v->siv, ad, env->nonce.data, env->body.data, len, out, err);
	else
		code = evc_xaes_open(&v->xaes, env->nonce.data, ad, env->body.data, len,
							 env->tag, out, err);
	if (code != EVC_OK)
		return code;

	if ((env->flags & EVC_FLAG_PADDED) != 0)
		kept = unpadded_len(out, len);
	if (kept > len)
	{
		evc_wipe(out, len);
		return evc_auth_fail(err);
	}
	*outlen = kept;
	return EVC_OK;
}
