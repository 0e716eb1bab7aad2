/*
 * t_kdf.c
 *	  HMAC, HKDF-Expand, working keys, commitments, and the bytes of a wrap.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "core/kdf.h"
#include "core/wrap.h"
#include "vectors.h"

static const uint8_t kvid[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static bool
hmac_vector(const json_t *test, bool valid)
{
	octets		key = member(test, "key");
	octets		msg = member(test, "msg");
	octets		tag = member(test, "tag");
	evc_key		k;
	uint8_t		mac[EVC_HMAC_BYTES];

	memcpy(k.b, key.b, sizeof(k.b));
	if (evc_hmac(&k, msg.b, msg.len, mac, NULL) != EVC_OK)
		return false;
	return (memcmp(mac, tag.b, tag.len) == 0) == valid;
}

/* We never extract, so the test does: PRK = HMAC(salt, IKM). */
static bool
hkdf_vector(const json_t *test, bool valid)
{
	octets		ikm = member(test, "ikm");
	octets		salt = member(test, "salt");
	octets		info = member(test, "info");
	octets		okm = member(test, "okm");
	size_t		size = (size_t) json_integer_value(json_object_get(test, "size"));
	static uint8_t out[16384];
	evc_key		prk;

	if (HMAC(EVP_sha256(), salt.b, (int) salt.len, ikm.b, ikm.len, prk.b, NULL) == NULL)
		return false;
	if (evc_hkdf_expand(&prk, info.b, info.len, out, size, NULL) != EVC_OK)
		return !valid;
	return valid && okm.len == size && memcmp(out, okm.b, size) == 0;
}

static void
test_working_keys(const evc_key *secret)
{
	evc_key		k[2];
	uint8_t		info[EVC_HKDF_INFO_MAX + 1] = {0};
	uint8_t		c[EVC_COMMITMENT_BYTES];

	ok(evc_commitment(EVC_ALG_XAES, kvid, secret, c, NULL) == EVC_OK &&
	   same_hex(c, 32, "90f116b410b70a866936709f781afc21c624d84dd9436e1a2a5f668dfba9a151"),
	   "commitment, algorithm 01");
	ok(evc_commitment(EVC_ALG_SIV, kvid, secret, c, NULL) == EVC_OK &&
	   same_hex(c, 32, "eb49ca00bf550391ad6aebf5c180ae615d5c3d2bd33f7f80504a86a923655b94"),
	   "commitment, algorithm 03");
	ok(evc_working_key(EVC_PURPOSE_SEAL, 1, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "fc8719e72a6f47a4c8de17d0a915579d05e51ba8a56f26625f51b2cf68af96a6"),
	   "seal key, suite 01");
	ok(evc_working_key(EVC_PURPOSE_SEAL, 3, kvid, secret, k, 2, NULL) == EVC_OK &&
	   same_hex(k[0].b, 64,
				"2b18017d189876c2ffffcb37efb90e5e65ea14b154d25b959229638cf5510460"
				"b714e1eb47e6efc3583cfd1ef5523ca911fd8506efa8ed3a4ca8eeca88b30ac3"),
	   "seal keys, suite 03");
	ok(evc_working_key(EVC_PURPOSE_SEAL, 2, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "36d39c0532a2ffe6ecda2a52cb0b9339866af1ce91279c8c1ea4872d5c3e65fc"),
	   "seal key, suite 02");
	ok(evc_working_key(EVC_PURPOSE_SEAL, 4, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "2d24caae417dabcd478b830578e8f90c7beb9915bffbb0029696ca3fed15b2fc"),
	   "seal key, suite 04");
	ok(evc_working_key(EVC_PURPOSE_SEAL, 5, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "ce0f4248e5185481ee03ac7bd011643189fee03034a79a6b0a06a7e77065daba"),
	   "seal key, suite 05");
	ok(evc_working_key(EVC_PURPOSE_INDEX, 0x10, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "5bf65cb2a35b8464e8a52a2c3f0c89e83592b2fb5ccbefe0d2aa32087406d520"), "index key");
	ok(evc_working_key(EVC_PURPOSE_WRAP, 0x20, kvid, secret, k, 2, NULL) == EVC_OK &&
	   same_hex(k[0].b, 64,
				"73063044b7b78c0c3479c6f82add587a5b8286eb8f0c17b35844cfb49ae41f81"
				"c9cd68c7c6b540fafe95e77fb07bb2c05947a6bff2e87cdb55967f4ee1d4c54f"), "wrap keys");
	ok(evc_working_key(EVC_PURPOSE_NONCE, 0, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "fbc84ae6bc65055085bf2872cdc882cd2f36230d9ca81625fb0bbf9c4083177f"), "nonce key");
	ok(evc_working_key(EVC_PURPOSE_IMPORT, 0, kvid, secret, k, 1, NULL) == EVC_OK &&
	   same_hex(k[0].b, 32, "fbc73d920b358ff06db5e885e1318a0f672b297bdf8069c0d3d7bc6fa5b34aa5"), "import key");
	ok(evc_hkdf_expand(secret, info, sizeof(info), k[0].b, 32, NULL) == EVC_BAD_ARG,
	   "info beyond its limit is refused");
	ok(evc_hkdf_expand(secret, info, 1, k[0].b, 255 * 32 + 1, NULL) == EVC_BAD_ARG,
	   "output beyond 255 blocks is refused");
}

static void
test_wrap(const evc_key *secret)
{
	evc_binding b = {EVC_ALG_XAES, {1, 2, 3, 4, 5, 6, 7, 8}, {(const uint8_t *) "pii", 3}};
	uint8_t		bytes[EVC_BINDING_MAX];
	uint8_t		payload[EVC_PAYLOAD_BYTES + 1] = {0};
	char		longest[EVC_NAME_MAX];
	evc_key		got;
	int			accepted = 0;

	ok(evc_binding_bytes(&b, bytes) == 30 &&
	   same_hex(bytes, 30, "656e7663727970742f777261702f76310101020304050607080003706969"),
	   "binding");
	evc_payload_write(&b, secret, payload);
	ok(same_hex(payload, 44, "010101000102030405060708"
				"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
	   "payload");
	ok(evc_payload_read(&b, payload, 44, &got, NULL) == EVC_OK &&
	   memcmp(got.b, secret->b, 32) == 0, "payload is read back");
	for (size_t len = 0; len <= sizeof(payload); len++)
		accepted += evc_payload_read(&b, payload, len, &got, NULL) == EVC_OK;
	ok(accepted == 1, "payload of any other length is refused");
	accepted = 0;
	for (int bit = 0; bit < 12 * 8; bit++)
	{
		payload[bit / 8] ^= (uint8_t) (1 << bit % 8);
		accepted += evc_payload_read(&b, payload, 44, &got, NULL) != EVC_BAD_WRAP;
		payload[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	ok(accepted == 0, "payload with any other head is refused");

	memset(longest, 'a', sizeof(longest));
	b.label = (evc_bytes) {(const uint8_t *) longest, sizeof(longest)};
	ok(evc_binding_bytes(&b, bytes) == EVC_BINDING_MAX, "longest label fits");
}

int
main(void)
{
	evc_key		secret;

	for (uint8_t i = 0; i < sizeof(secret.b); i++)
		secret.b[i] = i;
	test_working_keys(&secret);
	test_wrap(&secret);
	run_wycheproof("wycheproof/hmac_sha256_test.json", "keySize", 256, hmac_vector);
	run_wycheproof("wycheproof/hkdf_sha256_test.json", NULL, 0, hkdf_vector);
	return done_testing();
}
