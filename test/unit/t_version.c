/*
 * t_version.c
 *	  Sealing and opening: vectors, every length, every kind of damage.
 */
#include "core/cipher.h"
#include "core/version.h"
#include "vectors.h"

static const uint8_t kvid[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const evc_bytes context = {(const uint8_t *) "8:customer,2:42,", 16};
static const evc_bytes other_context = {(const uint8_t *) "8:customer,2:43,", 16};

static evc_version
version(uint8_t algorithm)
{
	evc_version v;
	evc_key		secret;

	for (uint8_t i = 0; i < sizeof(secret.b); i++)
		secret.b[i] = i;
	if (evc_version_init(&v, algorithm, kvid, &secret, NULL) != EVC_OK)
	{
		printf("Bail out! cannot prepare a version\n");
		exit(1);
	}
	return v;
}

/* Parse and open an exact copy, so that a byte too far is seen. */
static evc_code
open_copy(evc_version *v, const uint8_t *buf, size_t len, const evc_bytes *ctx,
		  uint8_t *out, size_t *outlen)
{
	uint8_t    *copy = malloc(len + 1);
	evc_envelope env;
	evc_code	code;

	memcpy(copy, buf, len);
	code = evc_envelope_parse(copy, len, &env, NULL);
	if (code == EVC_OK)
		code = evc_open(v, &env, ctx, out, outlen, NULL);
	free(copy);
	return code;
}

static bool
opens_to(evc_version *v, const char *hex, const evc_bytes *ctx, const char *text)
{
	octets		e = unhex(hex);
	uint8_t		out[256];
	size_t		n;

	return open_copy(v, e.b, e.len, ctx, out, &n) == EVC_OK &&
		n == strlen(text) && memcmp(out, text, n) == 0;
}

static bool
seals_to(evc_version *v, const char *text, const evc_bytes *ctx, const char *hex)
{
	uint8_t		out[256];

	return evc_seal(v, 1, (const uint8_t *) text, strlen(text), ctx, out, NULL) == EVC_OK &&
		same_hex(out, strlen(text) + evc_suite_overhead(v->algorithm), hex);
}

/* docs/envelope.md prints these; a second implementation made them. */
static void
test_vectors(evc_version *xaes, evc_version *siv)
{
	ok(same_hex(xaes->xaes.k1, 16, "41cc3f5d67758a47a2117cefb4155315"), "XAES K1");
	ok(opens_to(xaes,
					"ec0100000102030405060708404142434445464748494a4b4c4d4e4f50515253"
					"545556579d47f8a1e346ef85836f3622934f7e61",
					NULL, ""), "suite 01, empty opens");
	ok(opens_to(xaes,
					"ec0100000102030405060708404142434445464748494a4b4c4d4e4f50515253"
					"545556573858bc4d942b709ac797de54e2abada4ff",
					NULL, "a"), "suite 01, a opens");
	ok(opens_to(xaes,
					"ec0101000102030405060708404142434445464748494a4b4c4d4e4f50515253"
					"545556570d77abdebee86ffb59634b14cbf79edf23cfedfca284ba25aa04e395"
					"17ba2a4c165d515f53af4919469d315a9d3c07dc0f",
					&context, "The quick brown fox jumps over it"), "suite 01, ctx opens");
	ok(opens_to(xaes,
					"ec0102000102030405060708404142434445464748494a4b4c4d4e4f50515253"
					"54555657387dad7ecf9d069832432966a480f0ff5b6920e26cd65644f9c8bb36"
					"622934fa",
					NULL, "abc"), "suite 01, pad opens");
	ok(opens_to(xaes,
					"ec0103000102030405060708404142434445464748494a4b4c4d4e4f50515253"
					"54555657387dad7ecf9d069832432966a480f0ff00e39e37007cb86f2c6e40dc"
					"25fc977f",
					&context, "abc"), "suite 01, pad and ctx opens");
	ok(opens_to(siv,
					"ec0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4",
					NULL, ""), "suite 03, empty opens");
	ok(seals_to(siv, "", NULL,
					"ec0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4"), "suite 03, empty seals");
	ok(opens_to(siv,
					"ec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685",
					NULL, "a"), "suite 03, a opens");
	ok(seals_to(siv, "a", NULL,
					"ec03000001020304050607083fdcbcbc323bce2aaf488cc76ab2c8b685"), "suite 03, a seals");
	ok(opens_to(siv,
					"ec030100010203040506070817e29175c1c5ae6d3622aa845976164f4d99e39d"
					"0f47af1905d2995e411e9e4cda74f6c5fafae86de92ff8d32452fa97f6",
					&context, "The quick brown fox jumps over it"), "suite 03, ctx opens");
	ok(seals_to(siv, "The quick brown fox jumps over it", &context,
					"ec030100010203040506070817e29175c1c5ae6d3622aa845976164f4d99e39d"
					"0f47af1905d2995e411e9e4cda74f6c5fafae86de92ff8d32452fa97f6"), "suite 03, ctx seals");
	ok(opens_to(siv,
					"ec0300000102030405060708b8cf5d9064311e794305b918945a77da92",
					NULL, "b"), "suite 03, SIV[12] of 80 or more, opens");
	ok(seals_to(siv, "b", NULL,
					"ec0300000102030405060708b8cf5d9064311e794305b918945a77da92"),
	   "suite 03, SIV[12] of 80 or more, seals");
	ok(opens_to(siv,
					"ec03000001020304050607080aa0a2f5b4cec5fe1860bd4399edee1ab27587c2"
					"f286e0f7e48feb0342873f93425d1ecd5107f4033895082657fa86ab",
					NULL, "The quick brown fox jumps over i"), "suite 03, 32 bytes opens");
	ok(seals_to(siv, "The quick brown fox jumps over i", NULL,
					"ec03000001020304050607080aa0a2f5b4cec5fe1860bd4399edee1ab27587c2"
					"f286e0f7e48feb0342873f93425d1ecd5107f4033895082657fa86ab"), "suite 03, 32 bytes seals");
	ok(opens_to(siv,
					"ec03020001020304050607085b3c84a5afae1dbeeb43676b16a5b53823e2f032"
					"754b2decc12373763bb9846f",
					NULL, "abc"), "suite 03, pad opens");
	ok(opens_to(siv,
					"ec0303000102030405060708da20c950f09d886df5080de6b87cbdb29d4a4847"
					"67357a695e4deec0c3328f6c",
					&context, "abc"), "suite 03, pad and ctx opens");
}

static evc_code
opening(evc_version *v, const char *hex)
{
	octets		e = unhex(hex);
	uint8_t		out[256];
	size_t		n;

	return open_copy(v, e.b, e.len, NULL, out, &n);
}

/* And these, of which each must be refused. */
static void
test_negative_vectors(evc_version *xaes, evc_version *siv)
{
	static const char *const malformed[][2] = {
		{"ec03000001020304050607", "malformed envelope: shorter than a header"},
		{"ed0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", "malformed envelope: wrong first byte"},
		{"ec0600000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", "malformed envelope: unregistered suite"},
		{"ec0304000102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", "malformed envelope: unknown flag"},
		{"ec0300010102030405060708d26bb17c6fbcdd1731ce15fa9183a6a4", "malformed envelope: reserved byte is not zero"},
		{"ec0300000000000000000000d26bb17c6fbcdd1731ce15fa9183a6a4", "malformed envelope: invalid key version id"},
		{"ec030000ffffffffffffffffd26bb17c6fbcdd1731ce15fa9183a6a4", "malformed envelope: invalid key version id"},
		{"ec0300000102030405060708d26bb17c6fbcdd1731ce15fa9183a6", "malformed envelope: shorter than its suite allows"}
	};
	octets		head = unhex("ec0400000102030405060708");
	uint8_t    *chunks = calloc(1, 12 + 16424 + 16);
	evc_envelope env;
	evc_err		err;

	ok(opening(xaes,
			   "ec0102000102030405060708404142434445464748494a4b4c4d4e4f50515253"
			   "54555657387dadfb52b65d65a6eb501ea06b1555026223") == EVC_AUTH_FAILED,
	   "suite 01, authentic, not padded");
	ok(opening(siv, "ec030200010203040506070895f57ee5448ad1ea8b1ef31666641f6eacc670") == EVC_AUTH_FAILED,
	   "suite 03, authentic, not padded");

	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
	{
		octets		e = unhex(malformed[i][0]);

		ok(evc_envelope_parse(e.b, e.len, &env, &err) == EVC_MALFORMED &&
		   strcmp(err.msg, malformed[i][1]) == 0, "%s", malformed[i][1]);
	}
	memcpy(chunks, head.b, head.len);
	ok(evc_envelope_parse(chunks, 12 + 16424, &env, &err) == EVC_MALFORMED &&
	   strcmp(err.msg, "malformed envelope: last chunk is shorter than a tag") == 0, "%s", err.msg);
	ok(evc_envelope_parse(chunks, 12 + 16424 + 16, &env, NULL) == EVC_OK, "16 more bytes are a chunk");
	free(chunks);
}

static void
test_lengths(evc_version *v, const evc_bytes *ctx)
{
	static uint8_t in[1 << 20];
	static uint8_t out[(1 << 20) + 52];
	static uint8_t back[1 << 20];
	size_t		over = evc_suite_overhead(v->algorithm);
	size_t		got;
	int			wrong = 0;

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t) (i ^ i >> 8);
	for (size_t len = 0; len <= sizeof(in); len = len == 4100 ? sizeof(in) : len + 1)
	{
		got = SIZE_MAX;
		wrong += evc_seal(v, 1, in, len, ctx, out, NULL) != EVC_OK;
		wrong += open_copy(v, out, len + over, ctx, back, &got) != EVC_OK;
		wrong += got != len || memcmp(in, back, len) != 0;
	}
	ok(wrong == 0, "suite %02x%s: 0 to 4100 bytes and 1 MiB", v->algorithm,
	   ctx != NULL ? ", context" : "");
}

/* No changed, cut or lengthened envelope opens; what was written is wiped. */
static void
test_damage(evc_version *v, const evc_bytes *ctx, size_t len)
{
	uint8_t		in[100];
	uint8_t		out[200] = {0};
	uint8_t		back[200];
	uint8_t		zero[200] = {0};
	size_t		total = len + evc_suite_overhead(v->algorithm);
	size_t		got;
	int			accepted = 0;
	int			left = 0;

	memset(in, 'p', sizeof(in));
	accepted += evc_seal(v, 2, in, len, ctx, out, NULL) != EVC_OK;
	for (size_t bit = 0; bit < total * 8; bit++)
	{
		memset(back, 0, sizeof(back));
		out[bit / 8] ^= (uint8_t) (1 << bit % 8);
		accepted += open_copy(v, out, total, ctx, back, &got) == EVC_OK;
		accepted += open_copy(v, out, total, NULL, back, &got) == EVC_OK;
		out[bit / 8] ^= (uint8_t) (1 << bit % 8);
		left += memcmp(back, zero, sizeof(back)) != 0;
	}
	for (size_t n = 0; n < sizeof(out); n++)
		accepted += n != total && open_copy(v, out, n, ctx, back, &got) == EVC_OK;
	ok(accepted == 0, "suite %02x, %zu bytes%s: no damaged copy opens", v->algorithm, len,
	   ctx != NULL ? ", context" : "");
	ok(left == 0, "and nothing is left behind");
}

static void
test_context(evc_version *v)
{
	const evc_bytes empty = {(const uint8_t *) "", 0};
	uint8_t		bound[100];
	uint8_t		bare[100];
	uint8_t		back[100];
	size_t		len = 5 + evc_suite_overhead(v->algorithm);
	size_t		n;

	ok(evc_seal(v, 3, (const uint8_t *) "value", 5, &context, bound, NULL) == EVC_OK &&
	   evc_seal(v, 3, (const uint8_t *) "value", 5, NULL, bare, NULL) == EVC_OK &&
	   bound[2] == 1 && bare[2] == 0, "suite %02x: the flag says a context was bound",
	   v->algorithm);
	ok(open_copy(v, bound, len, NULL, back, &n) == EVC_CONTEXT_MISSING, "missing context");
	ok(open_copy(v, bare, len, &context, back, &n) == EVC_CONTEXT_NEEDLESS, "needless context");
	ok(open_copy(v, bound, len, &other_context, back, &n) == EVC_AUTH_FAILED, "wrong context");
	ok(open_copy(v, bound, len, &empty, back, &n) == EVC_CONTEXT_EMPTY, "empty context, opening");
	ok(evc_seal(v, 3, (const uint8_t *) "value", 5, &empty, back, NULL) == EVC_CONTEXT_EMPTY,
	   "empty context, sealing");
	bound[2] = 0;
	ok(open_copy(v, bound, len, NULL, back, &n) == EVC_AUTH_FAILED, "flag taken away");
	bare[2] = 1;
	ok(open_copy(v, bare, len, &context, back, &n) == EVC_AUTH_FAILED, "flag put on");
	bare[2] = 0;
	bare[11] ^= 1;
	ok(open_copy(v, bare, len, NULL, back, &n) == EVC_AUTH_FAILED, "another kvid");
}

static void
test_suites(evc_version *xaes, evc_version *siv)
{
	const evc_bytes empty = {(const uint8_t *) "", 0};
	uint8_t		e[200] = {0};
	uint8_t		back[200];
	evc_key		secret = {{1}};
	evc_version v;
	evc_envelope env;
	evc_err		err;
	size_t		n;

	evc_envelope_header(EVC_SUITE_XAES, 0, kvid, e);
	ok(open_copy(siv, e, 100, NULL, back, &n) == EVC_WRONG_SUITE, "suite 01 under algorithm 03");
	e[1] = 3;
	ok(open_copy(xaes, e, 100, NULL, back, &n) == EVC_WRONG_SUITE, "suite 03 under algorithm 01");
	e[2] = 1;
	ok(open_copy(xaes, e, 100, NULL, back, &n) == EVC_CONTEXT_MISSING,
	   "the context comes before the suite");
	for (uint8_t suite = 2; suite <= 5; suite += suite == 2 ? 2 : 1)
	{
		char		msg[64];

		e[1] = suite;
		snprintf(msg, sizeof(msg), "suite %d needs a newer envcrypt", suite);
		ok(evc_envelope_parse(e, 100, &env, NULL) == EVC_OK &&
		   evc_open(xaes, &env, NULL, back, &n, &err) == EVC_NEWER_SUITE &&
		   evc_open_precheck(&env, NULL, &err) == EVC_NEWER_SUITE &&
		   evc_open_precheck(&env, &empty, &err) == EVC_NEWER_SUITE &&
		   strcmp(err.msg, msg) == 0, "%s", msg);
	}
	ok(evc_version_init(&v, EVC_ALG_KC_XAES, kvid, &secret, NULL) == EVC_BAD_ARG &&
	   evc_version_init(&v, EVC_ALG_HMAC, kvid, &secret, NULL) == EVC_BAD_ARG &&
	   evc_version_init(&v, 0x99, kvid, &secret, NULL) == EVC_BAD_ARG,
	   "algorithms that seal nothing yet");
	ok(evc_seal(xaes, 1, e, (size_t) 1 << 31, NULL, back, NULL) == EVC_TOO_LONG, "2 GiB");
}

/* Seal bytes as they are, with the padded flag, as a later release will. */
static evc_code
open_padded(evc_version *v, const uint8_t *padded, size_t len, uint8_t *out, size_t *outlen)
{
	uint8_t		e[400];
	uint8_t		head[32] = "envcrypt/v1\0\0\0\0\x0c";
	evc_bytes	ad[2] = {{head, sizeof(head)}, {NULL, 0}};
	uint8_t    *body = e + 12;

	evc_envelope_header(v->algorithm, EVC_FLAG_PADDED, kvid, e);
	memcpy(head + 16, e, 12);
	memset(body, 7, 24);
	if (v->algorithm == EVC_ALG_SIV)
	{
		if (evc_siv_seal(&v->siv, ad, padded, len, body, body + 16, NULL) != EVC_OK)
			return EVC_CRYPTO;
	}
	else if (evc_xaes_seal(&v->xaes, body, ad, padded, len, body + 24, body + 24 + len, NULL) != EVC_OK)
		return EVC_CRYPTO;
	return open_copy(v, e, len + evc_suite_overhead(v->algorithm), NULL, out, outlen);
}

static void
test_padding(evc_version *v)
{
	uint8_t		p[256];
	uint8_t		out[256];
	uint8_t		zero[256] = {0};
	size_t		n;
	int			wrong = 0;

	for (size_t total = 1; total <= 64; total++)
	{
		for (size_t len = 0; len < total; len++)
		{
			memset(p, 0x80, sizeof(p));
			memset(p + len + 1, 0, sizeof(p) - len - 1);
			wrong += open_padded(v, p, total, out, &n) != EVC_OK || n != len ||
				memcmp(out, p, len) != 0;
		}
	}
	ok(wrong == 0, "suite %02x: padding of 1 to 64 bytes is removed", v->algorithm);

	memset(out, 0, sizeof(out));
	wrong = 0;
	for (int last = 1; last < 256; last++)
	{
		memset(p, 0x80, 32);
		p[31] = (uint8_t) last;
		if (last != 0x80)
			wrong += open_padded(v, p, 32, out, &n) != EVC_AUTH_FAILED;
		memset(p + 16, 0, 16);
		p[15] = (uint8_t) last;
		if (last != 0x80)
			wrong += open_padded(v, p, 32, out, &n) != EVC_AUTH_FAILED;
	}
	memset(p, 0, 64);
	for (size_t len = 0; len <= 64; len++)
		wrong += open_padded(v, p, len, out, &n) != EVC_AUTH_FAILED;
	ok(wrong == 0, "without a marker it is the authentication error");
	ok(memcmp(out, zero, sizeof(out)) == 0, "and nothing is left behind");
}

/* The error is one, whatever was wrong. */
static void
test_one_message(evc_version *v)
{
	uint8_t		e[100];
	uint8_t		back[100];
	evc_envelope env;
	evc_err		err[2];
	size_t		n;
	bool		passed = evc_seal(v, 4, (const uint8_t *) "abc", 3, &context, e, NULL) == EVC_OK &&
		evc_envelope_parse(e, 3 + evc_suite_overhead(v->algorithm), &env, NULL) == EVC_OK &&
		evc_open(v, &env, &other_context, back, &n, &err[0]) == EVC_AUTH_FAILED;

	e[14] ^= 1;
	passed = passed && evc_open(v, &env, &context, back, &n, &err[1]) == EVC_AUTH_FAILED;
	ok(passed && strcmp(err[0].msg, err[1].msg) == 0, "suite %02x: one message", v->algorithm);
}

int
main(void)
{
	evc_version v[2] = {version(EVC_ALG_XAES), version(EVC_ALG_SIV)};
	static const size_t sizes[] = {0, 1, 16, 33};

	test_vectors(&v[0], &v[1]);
	test_negative_vectors(&v[0], &v[1]);
	for (int i = 0; i < 2; i++)
	{
		test_lengths(&v[i], NULL);
		test_lengths(&v[i], &context);
		for (size_t k = 0; k < 4; k++)
		{
			test_damage(&v[i], NULL, sizes[k]);
			test_damage(&v[i], &context, sizes[k]);
		}
		test_context(&v[i]);
		test_padding(&v[i]);
		test_one_message(&v[i]);
	}
	test_suites(&v[0], &v[1]);
	evc_version_clear(&v[0]);
	evc_version_clear(&v[1]);
	return done_testing();
}
