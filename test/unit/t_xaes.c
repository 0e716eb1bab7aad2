/*
 * t_xaes.c
 *	  XAES-256-GCM against C2SP's vectors, GCM against Wycheproof's, and the
 *	  table of subkeys: all with the provider's contexts, then with EVP's.
 */
#include <openssl/evp.h>

#include "core/gcm.h"
#include "core/xaes.h"
#include "vectors.h"

static evc_bytes
bytes_of(const octets *o)
{
	return (evc_bytes) {o->b, o->len};
}

static evc_key
key_of(const octets *o)
{
	evc_key		k;

	memcpy(k.b, o->b, sizeof(k.b));
	return k;
}

/* One context for all vectors: keyed again for each, after forgeries too. */
static evc_cipher wycheproof_gcm;

static bool
gcm_vector(const json_t *test, bool valid)
{
	octets		key = member(test, "key");
	octets		iv = member(test, "iv");
	octets		aad = member(test, "aad");
	octets		msg = member(test, "msg");
	octets		ct = member(test, "ct");
	octets		tag = member(test, "tag");
	evc_bytes	ad[2] = {{aad.b, aad.len / 3}, {aad.b + aad.len / 3, aad.len - aad.len / 3}};
	evc_cipher *gcm = &wycheproof_gcm;
	octets		out;
	uint8_t		made[16];
	bool		passed;

	if (key.len != 32)
		return true;
	passed = evc_cipher_key(gcm, EVC_GCM, key.b, NULL) == EVC_OK &&
		evc_gcm_open(gcm, iv.b, ad, ct.b, ct.len, tag.b, out.b, NULL) ==
		(valid ? EVC_OK : EVC_AUTH_FAILED);
	if (valid)
	{
		passed = passed && memcmp(out.b, msg.b, msg.len) == 0;
		passed = passed && evc_gcm_seal(gcm, iv.b, ad, msg.b, msg.len, out.b, made, NULL) == EVC_OK;
		passed = passed && memcmp(out.b, ct.b, ct.len) == 0 && memcmp(made, tag.b, 16) == 0;
	}
	return passed;
}

/* One published vector, its intermediate K1 and derived key too. */
static void
test_vector(const json_t *test)
{
	const char *name = json_string_value(json_object_get(test, "name"));
	octets		key = member(test, "key");
	octets		nonce = member(test, "nonce");
	octets		msg = member(test, "plaintext");
	octets		aad = member(test, "aad");
	octets		want = member(test, "ciphertext");
	octets		derived = member(test, "derived_key");
	octets		derived_nonce = member(test, "derived_nonce");
	octets		k1 = member(test, "K1");
	evc_bytes	ad[2] = {{NULL, 0}, bytes_of(&aad)};
	evc_key		k = key_of(&key);
	uint8_t		out[64];
	uint8_t		tag[16];
	evc_cipher	gcm = {NULL, NULL, NULL};
	evc_xaes	x;

	ok(evc_xaes_init(&x, &k, NULL) == EVC_OK && memcmp(x.k1, k1.b, 16) == 0, "%s: K1", name);
	ok(evc_xaes_seal(&x, nonce.b, ad, msg.b, msg.len, out, tag, NULL) == EVC_OK &&
	   memcmp(out, want.b, msg.len) == 0 && memcmp(tag, want.b + msg.len, 16) == 0,
	   "%s: seals", name);
	ok(evc_xaes_open(&x, nonce.b, ad, want.b, msg.len, want.b + msg.len, out, NULL) == EVC_OK &&
	   memcmp(out, msg.b, msg.len) == 0, "%s: opens", name);

	/* The derived key is not shown by the interface; what it seals is. */
	ok(evc_cipher_key(&gcm, EVC_GCM, derived.b, NULL) == EVC_OK &&
	   evc_gcm_seal(&gcm, derived_nonce.b, ad, msg.b, msg.len, out, tag, NULL) == EVC_OK &&
	   memcmp(out, want.b, msg.len) == 0 && memcmp(tag, want.b + msg.len, 16) == 0,
	   "%s: derived key and nonce seal the same", name);
	evc_cipher_clear(&gcm);
	evc_xaes_clear(&x);
}

/*
 * The specification's accumulated test.  OpenSSL 3.0 squeezes SHAKE once, so
 * the whole input stream is drawn beforehand.
 */
static void
test_accumulated(const json_t *vectors, int steps)
{
	size_t		size = (size_t) steps * (32 + 24 + 2 + 2 * 255);
	uint8_t    *stream = malloc(size);
	const uint8_t *p = stream;
	EVP_MD_CTX *in = EVP_MD_CTX_new();
	EVP_MD_CTX *acc = EVP_MD_CTX_new();
	octets		want = member(json_object_get(vectors, "accumulated"), "10000");
	uint8_t		sum[32];
	bool		passed = true;

	EVP_DigestInit_ex(in, EVP_shake128(), NULL);
	EVP_DigestFinalXOF(in, stream, size);
	EVP_DigestInit_ex(acc, EVP_shake128(), NULL);
	for (int i = 0; i < steps; i++)
	{
		const uint8_t *nonce = p + 32;
		const uint8_t *msg = nonce + 24 + 1;
		size_t		len = msg[-1];
		const uint8_t *aad = msg + len + 1;
		evc_bytes	ad[2] = {{aad, aad[-1] / 2}, {aad + aad[-1] / 2, aad[-1] - aad[-1] / 2}};
		evc_key		k;
		evc_xaes	x;
		uint8_t		out[255 + 16];
		uint8_t		back[255];

		memcpy(k.b, p, sizeof(k.b));
		passed = passed && evc_xaes_init(&x, &k, NULL) == EVC_OK &&
			evc_xaes_seal(&x, nonce, ad, msg, len, out, out + len, NULL) == EVC_OK &&
			evc_xaes_open(&x, nonce, ad, out, len, out + len, back, NULL) == EVC_OK &&
			memcmp(back, msg, len) == 0;
		evc_xaes_clear(&x);
		EVP_DigestUpdate(acc, out, len + 16);
		p = aad + aad[-1];
	}
	EVP_DigestFinalXOF(acc, sum, sizeof(sum));
	ok(passed && memcmp(sum, want.b, 32) == 0, "accumulated hash of %d steps", steps);
	EVP_MD_CTX_free(in);
	EVP_MD_CTX_free(acc);
	free(stream);
}

/*
 * Two keys and more prefixes than the table holds, in changing orders: a value
 * must open with its own subkey, found or made again.
 */
static void
test_table(void)
{
	enum {PREFIXES = 150};
	evc_xaes	x[2];
	evc_key		k[2] = {{{1}}, {{2}}};
	uint8_t		sealed[2][PREFIXES][24];
	uint8_t		out[8];
	const evc_bytes none[2] = {{NULL, 0}, {NULL, 0}};
	uint8_t		nonce[24] = {0};
	int			wrong = 0;

	for (int v = 0; v < 2; v++)
		wrong += evc_xaes_init(&x[v], &k[v], NULL) != EVC_OK;
	for (int i = 0; i < 2 * PREFIXES; i++)
	{
		nonce[5] = (uint8_t) (i / 2);
		wrong += evc_xaes_seal(&x[i % 2], nonce, none, (const uint8_t *) "12345678", 8,
							   sealed[i % 2][i / 2], sealed[i % 2][i / 2] + 8, NULL) != EVC_OK;
	}
	for (int i = 0; i < 20000; i++)
	{
		int			n = i < 10000 ? i * 37 % PREFIXES : i * i % 40;
		uint8_t    *s = sealed[i % 2][n];

		nonce[5] = (uint8_t) n;
		wrong += evc_xaes_open(&x[i % 2], nonce, none, s, 8, s + 8, out, NULL) != EVC_OK;
		wrong += evc_xaes_open(&x[1 - i % 2], nonce, none, s, 8, s + 8, out, NULL) != EVC_AUTH_FAILED;
		if (i % 1000 == 999)
		{
			evc_xaes_clear(&x[0]);
			wrong += evc_xaes_init(&x[0], &k[0], NULL) != EVC_OK;
		}
	}
	ok(wrong == 0, "150 prefixes of two keys through 64 contexts");
	evc_xaes_clear(&x[0]);
	evc_xaes_clear(&x[1]);
}

static void
run_all(void)
{
	json_t	   *vectors = load_vectors("xaes-256-gcm.json");
	json_t	   *test;
	size_t		i;

	if (vectors != NULL)
	{
		json_array_foreach(json_object_get(vectors, "tests"), i, test)
			test_vector(test);
		test_accumulated(vectors, 10000);
		json_decref(vectors);
	}
	run_wycheproof("wycheproof/aes_gcm_test.json", "keySize", 256, gcm_vector);
	evc_cipher_clear(&wycheproof_gcm);
	test_table();
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
