/*
 * openssl_floor.c
 *	  What AES-256-GCM costs through EVP at its best: cipher fetched once, one
 *	  context keyed once, only the IV set per message, 32 bytes of associated
 *	  data, tag written and checked.
 *
 * Prints "what<TAB>bytes<TAB>batch<TAB>nanoseconds per message".
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define BATCHES	9
#define MAX_LEN	8192

static unsigned char iv[12],
			aad[32],
			tag[16],
			in[MAX_LEN],
			out[MAX_LEN];

static void
require(int ok)
{
	if (ok != 1)
	{
		fprintf(stderr, "OpenSSL refused\n");
		exit(1);
	}
}

static void
seal(EVP_CIPHER_CTX *ctx, int len)
{
	OSSL_PARAM	params[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, sizeof(tag)),
		OSSL_PARAM_END
	};
	int			n;

	require(EVP_EncryptInit_ex2(ctx, NULL, NULL, iv, NULL));
	require(EVP_CipherUpdate(ctx, NULL, &n, aad, sizeof(aad)));
	require(EVP_CipherUpdate(ctx, out, &n, in, len));
	require(EVP_EncryptFinal_ex(ctx, out, &n));
	require(EVP_CIPHER_CTX_get_params(ctx, params));
}

static void
unseal(EVP_CIPHER_CTX *ctx, int len)
{
	OSSL_PARAM	params[] = {
		OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, sizeof(tag)),
		OSSL_PARAM_END
	};
	int			n;

	require(EVP_DecryptInit_ex2(ctx, NULL, NULL, iv, params));
	require(EVP_CipherUpdate(ctx, NULL, &n, aad, sizeof(aad)));
	require(EVP_CipherUpdate(ctx, in, &n, out, len));
	require(EVP_DecryptFinal_ex(ctx, in, &n));
}

static double
cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void
measure(const char *what, void (*f) (EVP_CIPHER_CTX *, int), EVP_CIPHER_CTX *ctx, int len)
{
	int			messages = len > 1024 ? 20000 : 100000;

	for (int batch = 1; batch <= BATCHES; batch++)
	{
		double		start = cpu_time();

		for (int i = 0; i < messages; i++)
			f(ctx, len);
		printf("%s\t%d\t%d\t%.1f\n", what, len, batch, (cpu_time() - start) / messages);
	}
}

int
main(void)
{
	static const unsigned char key[32];
	EVP_CIPHER *gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	require(EVP_EncryptInit_ex2(ctx, gcm, key, iv, NULL));
	for (int len = 64; len <= MAX_LEN; len *= 128)
	{
		measure("seal", seal, ctx, len);
		measure("open", unseal, ctx, len);
	}
	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(gcm);
	return 0;
}
