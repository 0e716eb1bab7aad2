/*
 * kdf.c
 *	  HMAC-SHA-256, HKDF-Expand and working keys.
 */
#include "core/kdf.h"

#include <openssl/hmac.h>

#include "core/cipher.h"
#include "core/cursor.h"
#include "core/envelope.h"

#define LABEL_BYTES 20
#define INFO_BYTES	(LABEL_BYTES + 1 + EVC_KVID_BYTES)

/* The purposes of kdf.h, zero-padded to 20 bytes as they enter info. */
static const char labels[][LABEL_BYTES] = {
	[EVC_PURPOSE_COMMIT] = "envcrypt/v1/commit",
	[EVC_PURPOSE_SEAL] = "envcrypt/v1/seal",
	[EVC_PURPOSE_INDEX] = "envcrypt/v1/index",
	[EVC_PURPOSE_WRAP] = "envcrypt/v1/wrap",
	[EVC_PURPOSE_NONCE] = "envcrypt/v1/nonce",
	[EVC_PURPOSE_IMPORT] = "envcrypt/v1/import",
};

evc_code
evc_hmac(const evc_key *key, const uint8_t *data, size_t len,
		 uint8_t out[EVC_HMAC_BYTES], evc_err *err)
{
	unsigned int outlen = 0;

	if (HMAC(EVP_sha256(), key->b, sizeof(key->b), data, len, out, &outlen) == NULL ||
		outlen != EVC_HMAC_BYTES)
		return evc_crypto_fail(err, "HMAC-SHA-256");
	return EVC_OK;
}

evc_code
evc_hkdf_expand(const evc_key *prk, const uint8_t *info, size_t infolen,
				uint8_t *out, size_t outlen, evc_err *err)
{
	uint8_t		t[EVC_HMAC_BYTES] = {0};
	uint8_t		msg[EVC_HMAC_BYTES + EVC_HKDF_INFO_MAX + 1];
	evc_writer	w = evc_writer_on(out, outlen);
	evc_code	code = EVC_OK;

	if (infolen > EVC_HKDF_INFO_MAX || outlen > 255 * EVC_HMAC_BYTES)
		return evc_fail(err, EVC_BAD_ARG, "key derivation input is too long");

	/* T(i) = HMAC(PRK, T(i - 1) | info | i), T(0) empty */
	for (uint8_t i = 1; w.left > 0 && code == EVC_OK; i++)
	{
		evc_writer	m = evc_writer_on(msg, sizeof(msg));

		evc_write_bytes(&m, t, i == 1 ? 0 : sizeof(t));
		evc_write_bytes(&m, info, infolen);
		evc_write_u8(&m, i);
		code = evc_hmac(prk, msg, sizeof(msg) - m.left, t, err);
		if (code == EVC_OK)
			evc_write_bytes(&w, t, w.left < sizeof(t) ? w.left : sizeof(t));
	}

	if (code != EVC_OK)
		evc_wipe(out, outlen);
	evc_wipe(t, sizeof(t));
	evc_wipe(msg, sizeof(msg));
	return code;
}

evc_code
evc_working_key(evc_purpose purpose, uint8_t x, const uint8_t *kvid,
				const evc_key *secret, evc_key *out, size_t nkeys, evc_err *err)
{
	uint8_t		info[INFO_BYTES];
	evc_writer	w = evc_writer_on(info, sizeof(info));

	evc_write_bytes(&w, labels[purpose], LABEL_BYTES);
	evc_write_u8(&w, x);
	evc_write_bytes(&w, kvid, EVC_KVID_BYTES);
	return evc_hkdf_expand(secret, info, sizeof(info),
						   out->b, nkeys * sizeof(evc_key), err);
}
