/*
 * cipher.c
 *	  AES modes over EVP: fetching, contexts, GCM, and the known-answer test.
 */
#include "core/cipher.h"

#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>

#include "core/envelope.h"
#include "core/secret.h"

/* Usable while pid is this process's. */
static struct
{
	pid_t		pid;
	evc_ciphers c;
}			state;

evc_code
evc_crypto_fail(evc_err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	(void) evc_fail(err, EVC_CRYPTO, "OpenSSL refused %s: %s", what,
					reason != NULL ? reason : "no reason given");
	ERR_clear_error();
	return EVC_CRYPTO;
}

evc_code
evc_auth_fail(evc_err *err)
{
	ERR_clear_error();
	return evc_fail(err, EVC_AUTH_FAILED,
					"authentication failed: wrong context or modified data");
}

EVP_CIPHER_CTX *
evc_cipher_ctx_new(const EVP_CIPHER *cipher, const uint8_t *key, evc_err *err)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (ctx != NULL && EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) == 1)
		return ctx;
	(void) evc_crypto_fail(err, "a cipher key");
	EVP_CIPHER_CTX_free(ctx);
	return NULL;
}

bool
evc_cipher_update(EVP_CIPHER_CTX *ctx, const uint8_t *in, size_t len, uint8_t *out)
{
	int			done = 0;

	if (len == 0)
		return true;
	return len <= INT_MAX &&
		EVP_CipherUpdate(ctx, out, &done, in, (int) len) == 1 &&
		(size_t) done == len;
}

evc_code
evc_gcm_seal(EVP_CIPHER_CTX *ctx, const uint8_t *iv, const evc_bytes ad[2],
			 const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag, evc_err *err)
{
	OSSL_PARAM	get_tag[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, EVC_TAG_BYTES),
		OSSL_PARAM_END
	};
	uint8_t		nothing[EVC_BLOCK_BYTES];
	int			done;

	if (EVP_EncryptInit_ex2(ctx, NULL, NULL, iv, NULL) != 1 ||
		!evc_cipher_update(ctx, ad[0].data, ad[0].len, NULL) ||
		!evc_cipher_update(ctx, ad[1].data, ad[1].len, NULL) ||
		!evc_cipher_update(ctx, in, len, out) ||
		EVP_EncryptFinal_ex(ctx, nothing, &done) != 1 ||
		EVP_CIPHER_CTX_get_params(ctx, get_tag) != 1)
	{
		evc_wipe(out, len);
		return evc_crypto_fail(err, "AES-256-GCM encryption");
	}
	return EVC_OK;
}

evc_code
evc_gcm_open(EVP_CIPHER_CTX *ctx, const uint8_t *iv, const evc_bytes ad[2],
			 const uint8_t *in, size_t len, const uint8_t *tag, uint8_t *out,
			 evc_err *err)
{
	/* Given with the IV: a separate call for the tag costs a lookup by name. */
	OSSL_PARAM	set_tag[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, (void *) tag, EVC_TAG_BYTES),
		OSSL_PARAM_END
	};
	uint8_t		nothing[EVC_BLOCK_BYTES];
	int			done;

	if (EVP_DecryptInit_ex2(ctx, NULL, NULL, iv, set_tag) != 1 ||
		!evc_cipher_update(ctx, ad[0].data, ad[0].len, NULL) ||
		!evc_cipher_update(ctx, ad[1].data, ad[1].len, NULL) ||
		!evc_cipher_update(ctx, in, len, out))
	{
		evc_wipe(out, len);
		return evc_crypto_fail(err, "AES-256-GCM decryption");
	}
	if (EVP_DecryptFinal_ex(ctx, nothing, &done) != 1)
	{
		evc_wipe(out, len);
		return evc_auth_fail(err);
	}
	return EVC_OK;
}

void
evc_block_double(uint8_t block[EVC_BLOCK_BYTES])
{
	unsigned int carry = block[0] >> 7;

	for (int i = 0; i < EVC_BLOCK_BYTES - 1; i++)
		block[i] = (uint8_t) (block[i] << 1 | block[i + 1] >> 7);
	block[EVC_BLOCK_BYTES - 1] =
		(uint8_t) (block[EVC_BLOCK_BYTES - 1] << 1 ^ (0x87 & (0 - carry)));
}

/* Seal and open zero bytes under ctx; the tag must be the published one. */
static bool
gcm_answers(EVP_CIPHER_CTX *ctx, size_t len, const uint8_t *expected)
{
	static const uint8_t zero[EVC_BLOCK_BYTES];
	const evc_bytes none[2] = {{NULL, 0}, {NULL, 0}};
	uint8_t		sealed[EVC_BLOCK_BYTES];
	uint8_t		opened[EVC_BLOCK_BYTES];
	uint8_t		tag[EVC_TAG_BYTES] = {0};

	if (evc_gcm_seal(ctx, zero, none, zero, len, sealed, tag, NULL) != EVC_OK ||
		!evc_equal(tag, expected, sizeof(tag)))
		return false;
	if (evc_gcm_open(ctx, zero, none, sealed, len, tag, opened, NULL) != EVC_OK ||
		!evc_equal(opened, zero, len))
		return false;

	/* OpenSSL has accepted what it must not before: look, do not believe. */
	tag[15] ^= 1;
	return evc_gcm_open(ctx, zero, none, sealed, len, tag, opened, NULL) == EVC_AUTH_FAILED &&
		evc_gcm_open(ctx, zero, none, sealed, len, zero, opened, NULL) == EVC_AUTH_FAILED;
}

/* Test cases 13 and 14 of the GCM specification (McGrew and Viega). */
static evc_code
gcm_self_test(const EVP_CIPHER *gcm, evc_err *err)
{
	static const uint8_t key[EVC_KEY_BYTES];
	static const uint8_t tag13[EVC_TAG_BYTES] = {
		0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9,
		0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b
	};
	static const uint8_t tag14[EVC_TAG_BYTES] = {
		0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
		0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19
	};
	EVP_CIPHER_CTX *ctx = evc_cipher_ctx_new(gcm, key, err);
	bool		passed;

	if (ctx == NULL)
		return EVC_CRYPTO;
	passed = gcm_answers(ctx, 0, tag13) && gcm_answers(ctx, sizeof(tag14), tag14);
	EVP_CIPHER_CTX_free(ctx);
	if (!passed)
		return evc_fail(err, EVC_CRYPTO, "AES-256-GCM of this OpenSSL fails its self-test");
	return EVC_OK;
}

static void
free_ciphers(evc_ciphers *c)
{
	EVP_CIPHER_free(c->ecb);
	EVP_CIPHER_free(c->cbc);
	EVP_CIPHER_free(c->ctr);
	EVP_CIPHER_free(c->gcm);
	memset(c, 0, sizeof(*c));
}

const evc_ciphers *
evc_ciphers_get(evc_err *err)
{
	pid_t		pid = evc_pid();
	evc_ciphers c;

	if (state.pid == pid)
		return &state.c;

	c.ecb = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
	c.cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	c.ctr = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
	c.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (c.ecb == NULL || c.cbc == NULL || c.ctr == NULL || c.gcm == NULL)
	{
		(void) evc_crypto_fail(err, "to provide AES-256");
		free_ciphers(&c);
		return NULL;
	}
	if (gcm_self_test(c.gcm, err) != EVC_OK)
	{
		free_ciphers(&c);
		return NULL;
	}
	state.c = c;
	state.pid = pid;
	return &state.c;
}
