/*
 * t_siv.c
 *	  AES-256-SIV against Wycheproof's vectors and OpenSSL's own.
 */
#include <openssl/evp.h>

#include "core/siv.h"
#include "vectors.h"

static bool
siv_vector(const json_t *test, bool valid)
{
	octets		key = member(test, "key");
	octets		aad = member(test, "aad");
	octets		msg = member(test, "msg");
	octets		ct = member(test, "ct");
	evc_bytes	ad[2] = {{aad.b, aad.len / 2}, {aad.b + aad.len / 2, aad.len - aad.len / 2}};
	evc_key		keys[2];
	uint8_t		out[256];
	uint8_t		siv[16];
	evc_siv		s;
	bool		passed;

	memcpy(keys, key.b, sizeof(keys));
	passed = evc_siv_init(&s, keys, NULL) == EVC_OK &&
		evc_siv_open(&s, ad, ct.b, ct.b + 16, ct.len - 16, out, NULL) ==
		(valid ? EVC_OK : EVC_AUTH_FAILED);
	if (valid)
		passed = passed && ct.len - 16 == msg.len && memcmp(out, msg.b, msg.len) == 0 &&
			evc_siv_seal(&s, ad, msg.b, msg.len, siv, out, NULL) == EVC_OK &&
			memcmp(siv, ct.b, 16) == 0 && memcmp(out, ct.b + 16, msg.len) == 0;
	evc_siv_clear(&s);
	return passed;
}

/* What EVP's SIV makes of a message that is not empty, where it is right. */
static bool
evp_siv(const uint8_t *key, const evc_bytes *ad, const uint8_t *in, int len,
		uint8_t *siv, uint8_t *out)
{
	EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, "AES-256-SIV", NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int			n;
	bool		passed = EVP_EncryptInit_ex2(ctx, c, key, NULL, NULL) == 1 &&
		EVP_EncryptUpdate(ctx, NULL, &n, ad->data, (int) ad->len) == 1 &&
		EVP_EncryptUpdate(ctx, out, &n, in, len) == 1 &&
		EVP_EncryptFinal_ex(ctx, out, &n) == 1 &&
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, siv) == 1;

	EVP_CIPHER_CTX_free(ctx);
	EVP_CIPHER_free(c);
	return passed;
}

/*
 * One object for all lengths, with associated data that repeat, grow beyond
 * what is remembered, and shrink again.
 */
static void
test_against_evp(void)
{
	static uint8_t in[5000];
	static uint8_t out[5000];
	static uint8_t want[5000];
	uint8_t		aad[300];
	uint8_t		siv[16];
	uint8_t		want_siv[16];
	evc_key		keys[2];
	evc_siv		s;
	int			wrong = 0;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t) (i * 7 + i / 256);
	memcpy(aad, in + 100, sizeof(aad));
	memcpy(keys, in + 1000, sizeof(keys));
	wrong += evc_siv_init(&s, keys, NULL) != EVC_OK;
	for (int len = 1; len <= 5000; len += len < 1300 ? 1 : 61)
	{
		size_t		n = 1 + (size_t) (len / 3 * 41) % sizeof(aad);
		evc_bytes	whole = {aad, n};
		evc_bytes	ad[2] = {{aad, n < 32 ? n : 32}, {aad + 32, n < 32 ? 0 : n - 32}};

		wrong += !evp_siv(keys[0].b, &whole, in, len, want_siv, want);
		wrong += evc_siv_seal(&s, ad, in, (size_t) len, siv, out, NULL) != EVC_OK;
		wrong += memcmp(siv, want_siv, 16) != 0 || memcmp(out, want, (size_t) len) != 0;
		wrong += evc_siv_open(&s, ad, siv, out, (size_t) len, out, NULL) != EVC_OK;
		wrong += memcmp(out, in, (size_t) len) != 0;
	}
	ok(wrong == 0, "agrees with EVP on messages of 1 to 5000 bytes");
	evc_siv_clear(&s);
}

/* The same head and length with another tail is another datum. */
static void
test_remembered_datum(void)
{
	evc_key		keys[2] = {{{1}}, {{2}}};
	uint8_t		a[16];
	uint8_t		b[16];
	uint8_t		again[16];
	evc_bytes	one[2] = {{(const uint8_t *) "head", 4}, {(const uint8_t *) "tail", 4}};
	evc_bytes	two[2] = {{(const uint8_t *) "head", 4}, {(const uint8_t *) "tale", 4}};
	evc_bytes	moved[2] = {{(const uint8_t *) "headta", 6}, {(const uint8_t *) "il", 2}};
	evc_siv		s;

	ok(evc_siv_init(&s, keys, NULL) == EVC_OK &&
	   evc_siv_seal(&s, one, NULL, 0, a, NULL, NULL) == EVC_OK &&
	   evc_siv_seal(&s, two, NULL, 0, b, NULL, NULL) == EVC_OK &&
	   memcmp(a, b, 16) != 0, "another datum, another SIV");
	ok(evc_siv_seal(&s, moved, NULL, 0, again, NULL, NULL) == EVC_OK &&
	   memcmp(a, again, 16) == 0, "where the pieces meet does not matter");
	evc_siv_clear(&s);
}

static void
run_all(void)
{
	run_wycheproof("wycheproof/aes_siv_cmac_test.json", "keySize", 512, siv_vector);
	test_against_evp();
	test_remembered_datum();
}

int
main(void)
{
	diag("the provider's contexts where this OpenSSL gives them");
	run_all();
	diag("EVP's contexts");
	evc_cipher_force_evp(true);
	run_all();
	return done_testing();
}
