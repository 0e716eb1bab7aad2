/*
 * siv.c
 *	  AES-256-SIV: S2V over AES-CBC, then AES-CTR.
 *
 * CMAC is CBC from a zero IV whose last block is masked with a subkey, so one
 * keyed CBC context serves S2V's every CMAC.  The message goes through a small
 * buffer on the stack: its last block is changed before it is enciphered, and
 * CBC's output has to go somewhere.
 */
#include "core/siv.h"

#include <string.h>

#include "core/envelope.h"

#define BUF_BYTES 1024			/* a multiple of the block */

/* Where the known-answer test has passed. */
static pid_t tested_pid;

static void
xor_block(uint8_t *dst, const uint8_t *src)
{
	for (int i = 0; i < EVC_BLOCK_BYTES; i++)
		dst[i] ^= src[i];
}

/* Move up to n bytes from the front of the two pieces to out. */
static void
take(evc_bytes part[2], uint8_t *out, size_t n)
{
	for (int i = 0; i < 2; i++)
	{
		size_t		step = part[i].len < n ? part[i].len : n;

		if (step == 0)
			continue;
		memcpy(out, part[i].data, step);
		part[i].data += step;
		part[i].len -= step;
		out += step;
		n -= step;
	}
}

/* Mask the last block as CMAC does, padding it when it is not full. */
static size_t
finish_block(const evc_siv *s, uint8_t *buf, size_t n)
{
	size_t		full = n > 0 && n % EVC_BLOCK_BYTES == 0 ? n :
		(n / EVC_BLOCK_BYTES + 1) * EVC_BLOCK_BYTES;

	if (full != n)
	{
		memset(buf + n, 0, full - n);
		buf[n] = 0x80;
	}
	xor_block(buf + full - EVC_BLOCK_BYTES, full == n ? s->k1 : s->k2);
	return full;
}

/*
 * CMAC of two pieces in a row, the last 16 bytes of which are xored with end
 * first (S2V's xorend); end NULL leaves them.  The pieces then have at least
 * 16 bytes.
 */
static bool
cmac(evc_siv *s, const evc_bytes in[2], const uint8_t *end, uint8_t *out)
{
	static const uint8_t zero_iv[EVC_BLOCK_BYTES];
	uint8_t		buf[BUF_BYTES];
	evc_bytes	part[2] = {in[0], in[1]};
	size_t		left = in[0].len + in[1].len;
	size_t		used = left + EVC_BLOCK_BYTES;
	size_t		step;
	bool		ok = evc_cipher_start(&s->mac, zero_iv, sizeof(zero_iv));

	/* Stop early enough to keep the last 16 bytes, wherever they end. */
	while (ok && left > sizeof(buf))
	{
		step = sizeof(buf) - EVC_BLOCK_BYTES;
		take(part, buf, step);
		ok = evc_cipher_update(&s->mac, buf, step, buf);
		left -= step;
	}
	if (ok)
	{
		take(part, buf, left);
		if (end != NULL)
			xor_block(buf + left - EVC_BLOCK_BYTES, end);
		step = finish_block(s, buf, left);
		ok = evc_cipher_update(&s->mac, buf, step, buf);
		memcpy(out, buf + step - EVC_BLOCK_BYTES, EVC_BLOCK_BYTES);
	}
	evc_wipe(buf, used < sizeof(buf) ? used : sizeof(buf));
	return ok;
}

/* Whether the datum is the one whose state is kept. */
static bool
same_ad(const evc_siv *s, const evc_bytes ad[2])
{
	return s->ad_known && s->ad_len == ad[0].len + ad[1].len &&
		memcmp(s->ad, ad[0].data, ad[0].len) == 0 &&
		(ad[1].len == 0 || memcmp(s->ad + ad[0].len, ad[1].data, ad[1].len) == 0);
}

/* S2V's state after the associated datum: start xor CMAC(ad). */
static bool
absorb_ad(evc_siv *s, const evc_bytes ad[2])
{
	if (same_ad(s, ad))
		return true;

	s->ad_known = false;
	if (!cmac(s, ad, NULL, s->ad_d))
		return false;
	xor_block(s->ad_d, s->start);
	s->ad_len = ad[0].len + ad[1].len;
	if (s->ad_len <= sizeof(s->ad))
	{
		evc_bytes	part[2] = {ad[0], ad[1]};

		take(part, s->ad, s->ad_len);
		s->ad_known = true;
	}
	return true;
}

static bool
s2v(evc_siv *s, const evc_bytes ad[2], const uint8_t *in, size_t len, uint8_t *siv)
{
	uint8_t		last[EVC_BLOCK_BYTES] = {0};
	evc_bytes	message[2] = {{in, len}, {NULL, 0}};
	bool		ok;

	if (!absorb_ad(s, ad))
		return false;
	if (len >= EVC_BLOCK_BYTES)
		return cmac(s, message, s->ad_d, siv);

	/* A short message is padded and xored with the doubled state. */
	memcpy(last, s->ad_d, sizeof(last));
	evc_block_double(last);
	for (size_t i = 0; i < len; i++)
		last[i] ^= in[i];
	last[len] ^= 0x80;
	message[0] = (evc_bytes) {last, sizeof(last)};
	ok = cmac(s, message, NULL, siv);
	evc_wipe(last, sizeof(last));
	return ok;
}

/* CTR from the SIV with two bits cleared (RFC 5297, 2.5). */
static bool
ctr(evc_siv *s, const uint8_t *siv, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t		q[EVC_BLOCK_BYTES];

	if (len == 0)
		return true;
	memcpy(q, siv, sizeof(q));
	q[8] &= 0x7f;
	q[12] &= 0x7f;
	return evc_cipher_start(&s->ctr, q, sizeof(q)) &&
		evc_cipher_update(&s->ctr, in, len, out);
}

evc_code
evc_siv_seal(evc_siv *s, const evc_bytes ad[2], const uint8_t *in, size_t len,
			 uint8_t *siv, uint8_t *out, evc_err *err)
{
	if (!s2v(s, ad, in, len, siv) || !ctr(s, siv, in, len, out))
	{
		evc_wipe(out, len);
		return evc_crypto_fail(err, "AES-256-SIV encryption");
	}
	return EVC_OK;
}

evc_code
evc_siv_open(evc_siv *s, const evc_bytes ad[2], const uint8_t *siv,
			 const uint8_t *in, size_t len, uint8_t *out, evc_err *err)
{
	uint8_t		expected[EVC_SIV_BYTES] = {0};
	evc_code	code = EVC_OK;

	if (!ctr(s, siv, in, len, out) || !s2v(s, ad, out, len, expected))
		code = evc_crypto_fail(err, "AES-256-SIV decryption");
	else if (!evc_equal(siv, expected, sizeof(expected)))
		code = evc_auth_fail(err);

	/* The right SIV of a forged message is what a forger is after. */
	evc_wipe(expected, sizeof(expected));
	if (code != EVC_OK)
		evc_wipe(out, len);
	return code;
}

static evc_code
prepare(evc_siv *s, const evc_key keys[2], evc_err *err)
{
	static const uint8_t zero[EVC_BLOCK_BYTES];
	const evc_bytes block[2] = {{zero, sizeof(zero)}, {NULL, 0}};

	memset(s, 0, sizeof(*s));
	if (evc_cipher_key(&s->mac, EVC_CBC, keys[0].b, err) != EVC_OK ||
		evc_cipher_key(&s->ctr, EVC_CTR, keys[1].b, err) != EVC_OK)
	{
		evc_siv_clear(s);
		return EVC_CRYPTO;
	}

	/* The subkeys: AES of zero, doubled once and twice. */
	if (!evc_cipher_start(&s->mac, zero, sizeof(zero)) ||
		!evc_cipher_update(&s->mac, zero, sizeof(zero), s->k1))
		goto refused;
	evc_block_double(s->k1);
	memcpy(s->k2, s->k1, sizeof(s->k2));
	evc_block_double(s->k2);

	if (!cmac(s, block, NULL, s->start))
		goto refused;
	evc_block_double(s->start);
	return EVC_OK;

refused:
	evc_siv_clear(s);
	return evc_crypto_fail(err, "AES-256-CBC");
}

/*
 * Empty, short and long messages under fixed keys, sealed and opened, with
 * answers of an independent implementation.
 */
static evc_code
self_test(evc_err *err)
{
	static const uint8_t answers[][EVC_SIV_BYTES] = {
		{0x6f, 0xf5, 0xb8, 0xef, 0x53, 0xfc, 0x36, 0x56,
		0x06, 0xcd, 0x3e, 0xa0, 0x47, 0x37, 0x48, 0x85},
		{0xbb, 0xcd, 0xa5, 0x00, 0xab, 0x22, 0xfb, 0x1a,
		0xb4, 0x5f, 0xe9, 0x60, 0x68, 0x87, 0x0d, 0xfe},
		{0x9e, 0xcf, 0x98, 0xce, 0x2c, 0xb3, 0xf7, 0x12,
		0x06, 0xa9, 0x49, 0x77, 0x6d, 0x15, 0xf9, 0xbe},
		{0x9b, 0x3a, 0xbf, 0x89, 0xf9, 0xdc, 0xb2, 0x1e,
		0xd1, 0xc9, 0x80, 0x99, 0x65, 0xc9, 0x41, 0x87}
	};
	static const size_t lengths[] = {0, 1, 16, 33};
	evc_siv		s;
	evc_key		keys[2];
	uint8_t		count[64];
	uint8_t		siv[EVC_SIV_BYTES];
	uint8_t		sealed[64];
	const evc_bytes ad[2] = {{count, 0}, {NULL, 0}};
	bool		passed = true;

	for (uint8_t i = 0; i < sizeof(count); i++)
		count[i] = i;
	memcpy(keys, count, sizeof(keys));
	if (prepare(&s, keys, err) != EVC_OK)
		return EVC_CRYPTO;

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]) && passed; i++)
	{
		size_t		n = lengths[i];

		passed = evc_siv_seal(&s, ad, count, n, siv, sealed, NULL) == EVC_OK &&
			evc_equal(siv, answers[i], sizeof(siv)) &&
			evc_siv_open(&s, ad, siv, sealed, n, sealed, NULL) == EVC_OK &&
			evc_equal(sealed, count, n);
		siv[0] ^= 1;
		passed = passed &&
			evc_siv_open(&s, ad, siv, sealed, n, sealed, NULL) == EVC_AUTH_FAILED;
	}
	evc_siv_clear(&s);
	if (!passed)
		return evc_fail(err, EVC_CRYPTO, "AES-256-SIV over this OpenSSL fails its self-test");
	return EVC_OK;
}

evc_code
evc_siv_init(evc_siv *s, const evc_key keys[2], evc_err *err)
{
	evc_code	code;

	memset(s, 0, sizeof(*s));
	if (tested_pid != evc_pid())
	{
		if ((code = self_test(err)) != EVC_OK)
			return code;
		tested_pid = evc_pid();
	}
	return prepare(s, keys, err);
}

void
evc_siv_clear(evc_siv *s)
{
	evc_cipher_clear(&s->mac);
	evc_cipher_clear(&s->ctr);
	evc_wipe(s, sizeof(*s));
}
