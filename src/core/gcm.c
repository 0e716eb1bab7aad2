/*
 * gcm.c
 *	  Sealing and opening with AES-256-GCM.
 */
#include "core/gcm.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "core/direct.h"
#include "core/envelope.h"
#include "core/secret.h"

/*
 * Set the IV and the tag to check.  EVP is given the tag by itself: among the
 * parameters of init it looks for some of its own, which costs a little more
 * than the second call.
 */
static bool
start_open(evc_cipher *gcm, const uint8_t *iv, const uint8_t *tag)
{
	OSSL_PARAM	set_tag[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, (void *) tag, EVC_TAG_BYTES),
		OSSL_PARAM_END
	};

	if (gcm->f != NULL)
		return gcm->f->decrypt_init(gcm->direct, NULL, 0, iv, EVC_GCM_IV_BYTES, set_tag) == 1;
	return EVP_DecryptInit_ex2(gcm->evp, NULL, NULL, iv, NULL) == 1 &&
		EVP_CIPHER_CTX_set_params(gcm->evp, set_tag) == 1;
}

/* Both directions' last step; when opening, false is a wrong tag. */
static bool
finish(evc_cipher *gcm)
{
	uint8_t		nothing[EVC_BLOCK_BYTES];
	size_t		done;
	int			evp_done;

	if (gcm->f != NULL)
		return gcm->f->final(gcm->direct, nothing, &done, sizeof(nothing)) == 1;
	return EVP_CipherFinal_ex(gcm->evp, nothing, &evp_done) == 1;
}

static bool
get_tag(evc_cipher *gcm, uint8_t *tag)
{
	OSSL_PARAM	wanted[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, EVC_TAG_BYTES),
		OSSL_PARAM_END
	};

	if (gcm->f != NULL)
		return gcm->f->get_ctx_params(gcm->direct, wanted) == 1;
	return EVP_CIPHER_CTX_get_params(gcm->evp, wanted) == 1;
}

evc_code
evc_gcm_seal(evc_cipher *gcm, const uint8_t *iv, const evc_bytes ad[2],
			 const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag, evc_err *err)
{
	if (!evc_cipher_start(gcm, iv, EVC_GCM_IV_BYTES) ||
		!evc_cipher_update(gcm, ad[0].data, ad[0].len, NULL) ||
		!evc_cipher_update(gcm, ad[1].data, ad[1].len, NULL) ||
		!evc_cipher_update(gcm, in, len, out) ||
		!finish(gcm) || !get_tag(gcm, tag))
	{
		evc_wipe(out, len);
		return evc_crypto_fail(err, "AES-256-GCM encryption");
	}
	return EVC_OK;
}

evc_code
evc_gcm_open(evc_cipher *gcm, const uint8_t *iv, const evc_bytes ad[2],
			 const uint8_t *in, size_t len, const uint8_t *tag, uint8_t *out,
			 evc_err *err)
{
	if (!start_open(gcm, iv, tag) ||
		!evc_cipher_update(gcm, ad[0].data, ad[0].len, NULL) ||
		!evc_cipher_update(gcm, ad[1].data, ad[1].len, NULL) ||
		!evc_cipher_update(gcm, in, len, out))
	{
		evc_wipe(out, len);
		return evc_crypto_fail(err, "AES-256-GCM decryption");
	}
	if (!finish(gcm))
	{
		evc_wipe(out, len);
		return evc_auth_fail(err);
	}
	return EVC_OK;
}
