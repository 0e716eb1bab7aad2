/*
 * selftest.c
 *	  Known answers of AES-256-GCM, and comparing two kinds of contexts.
 */
#include "core/selftest.h"

#include "core/envelope.h"
#include "core/gcm.h"
#include "core/secret.h"

/* Seal and open zero bytes under gcm; the tag must be the published one. */
static bool
zeros_answer(evc_cipher *gcm, size_t len, const uint8_t *expected)
{
	static const uint8_t zero[EVC_BLOCK_BYTES];
	const evc_bytes none[2] = {{NULL, 0}, {NULL, 0}};
	uint8_t		sealed[EVC_BLOCK_BYTES];
	uint8_t		opened[EVC_BLOCK_BYTES];
	uint8_t		tag[EVC_TAG_BYTES] = {0};

	if (evc_gcm_seal(gcm, zero, none, zero, len, sealed, tag, NULL) != EVC_OK ||
		!evc_equal(tag, expected, sizeof(tag)))
		return false;
	if (evc_gcm_open(gcm, zero, none, sealed, len, tag, opened, NULL) != EVC_OK ||
		!evc_equal(opened, zero, len))
		return false;

	/* OpenSSL has accepted what it must not before: look, do not believe. */
	tag[15] ^= 1;
	return evc_gcm_open(gcm, zero, none, sealed, len, tag, opened, NULL) == EVC_AUTH_FAILED &&
		evc_gcm_open(gcm, zero, none, sealed, len, zero, opened, NULL) == EVC_AUTH_FAILED;
}

/* Test cases 13 and 14 of the GCM specification (McGrew and Viega). */
bool
evc_selftest_gcm(evc_cipher *gcm)
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

	return evc_cipher_key(gcm, EVC_GCM, key, NULL) == EVC_OK &&
		zeros_answer(gcm, 0, tag13) && zeros_answer(gcm, sizeof(tag14), tag14);
}

/*
 * Whether the two seal the same and open each other's, with a forgery in
 * between.
 */
static bool
gcm_agree(evc_cipher *a, evc_cipher *b, const uint8_t data[1000])
{
	static const size_t lengths[] = {0, 1, 16, 17, 64, 1000};
	uint8_t		sealed[2][1000];
	uint8_t		tag[2][EVC_TAG_BYTES] = {{0}, {0}};
	bool		same = true;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && same; i++)
	{
		const uint8_t *iv = data + i;
		size_t		n = lengths[i];
		const evc_bytes ad[2] = {{data, i * 5}, {data + i * 5, n % 40}};

		same = evc_gcm_seal(a, iv, ad, data, n, sealed[0], tag[0], NULL) == EVC_OK &&
			evc_gcm_seal(b, iv, ad, data, n, sealed[1], tag[1], NULL) == EVC_OK &&
			evc_equal(sealed[0], sealed[1], n) &&
			evc_equal(tag[0], tag[1], sizeof(tag[0]));
		tag[1][i] ^= 0x80;
		same = same &&
			evc_gcm_open(b, iv, ad, sealed[0], n, tag[1], sealed[1], NULL) == EVC_AUTH_FAILED &&
			evc_gcm_open(b, iv, ad, sealed[0], n, tag[0], sealed[1], NULL) == EVC_OK &&
			evc_equal(sealed[1], data, n) &&
			evc_gcm_open(a, iv, ad, sealed[0], n, tag[0], sealed[0], NULL) == EVC_OK &&
			evc_equal(sealed[0], data, n);
	}
	return same;
}

/* Encrypt 416 bytes, or for CTR a few less, as two pieces from an IV. */
static bool
encrypt(evc_mode mode, evc_cipher *c, const uint8_t *data, uint8_t out[416])
{
	return (mode == EVC_ECB || evc_cipher_start(c, data + 1, EVC_BLOCK_BYTES)) &&
		evc_cipher_update(c, data, 96, out) &&
		evc_cipher_update(c, data + 96, mode == EVC_CTR ? 317 : 320, out + 96);
}

/* Twice, to see that an IV starts afresh. */
static bool
plain_agree(evc_mode mode, evc_cipher *a, evc_cipher *b, const uint8_t data[1000])
{
	uint8_t		out[2][416] = {{0}, {0}};

	for (int i = 0; i < 2; i++)
	{
		if (!encrypt(mode, a, data + i, out[0]) || !encrypt(mode, b, data + i, out[1]) ||
			!evc_equal(out[0], out[1], sizeof(out[0])))
			return false;
	}
	return true;
}

bool
evc_selftest_agree(evc_mode mode, evc_cipher *a, evc_cipher *b)
{
	uint8_t		data[1000];

	if (mode == EVC_GCM && !evc_selftest_gcm(b))
		return false;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t) (i * 7 + 1);
	if (evc_cipher_key(a, mode, data, NULL) != EVC_OK ||
		evc_cipher_key(b, mode, data, NULL) != EVC_OK)
		return false;
	return mode == EVC_GCM ? gcm_agree(a, b, data) : plain_agree(mode, a, b, data);
}
