/*
 * t_envelope.c
 *	  The form of an envelope: every rule, every suite, and its text.
 */
#include <string.h>

#include "core/codec.h"
#include "core/envelope.h"
#include "tap.h"

/* A header of suite 01 with room for a body. */
static void
start(uint8_t *buf, uint8_t suite)
{
	static const uint8_t kvid[8] = {1, 2, 3, 4, 5, 6, 7, 8};

	evc_envelope_header(suite, 0, kvid, buf);
}

/* Parse a copy without a byte to spare, for the sanitizers' sake. */
static evc_code
parse(const uint8_t *buf, size_t len)
{
	uint8_t    *copy = malloc(len > 0 ? len : 1);
	evc_envelope env;
	evc_code	code;

	memcpy(copy, buf, len);
	code = evc_envelope_parse(copy, len, &env, NULL);
	free(copy);
	return code;
}

static void
test_lengths(void)
{
	static const size_t least[6] = {0, 52, 84, 28, 52, 40};
	static uint8_t buf[40000];
	evc_envelope env;

	for (uint8_t suite = 1; suite <= 5; suite++)
	{
		int			wrong = 0;

		start(buf, suite);
		for (size_t len = 0; len < 200; len++)
			wrong += (parse(buf, len) == EVC_OK) != (len >= least[suite]);
		ok(wrong == 0, "suite %02x: at least %zu bytes", suite, least[suite]);
		wrong = evc_envelope_parse(buf, least[suite], &env, NULL) != EVC_OK;
		ok(wrong == 0 && evc_envelope_plaintext_len(&env) == 0, "of them none is plaintext");
	}
	ok(evc_suite_overhead(1) == 52 && evc_suite_overhead(3) == 28 &&
	   evc_suite_overhead(2) == 0 && evc_suite_overhead(4) == 0 && evc_suite_overhead(0) == 0,
	   "overhead of the suites that are sealed");
}

static void
test_chunks(void)
{
	static uint8_t buf[36 + 3 * 16400];
	evc_envelope env;
	int			wrong = 0;

	start(buf, EVC_SUITE_XAES_CHUNKED);
	for (size_t len = 52; len <= sizeof(buf); len++)
	{
		bool		valid = (len - 36) % 16400 >= 16;
		size_t		chunks = (len - 36) / 16400 + 1;
		bool		passed = evc_envelope_parse(buf, len, &env, NULL) == EVC_OK;

		wrong += passed != valid;
		wrong += passed && evc_envelope_plaintext_len(&env) != len - 36 - 16 * chunks;
	}
	ok(wrong == 0, "suite 04: the last chunk has a tag and is shorter than the others");
}

static void
test_header_rules(void)
{
	uint8_t		buf[100] = {0};
	int			accepted[4] = {0};
	evc_err		err;

	start(buf, 1);
	for (int pos = 0; pos < 4; pos++)
	{
		uint8_t		was = buf[pos];

		for (int v = 0; v < 256; v++)
		{
			buf[pos] = (uint8_t) v;
			accepted[pos] += parse(buf, sizeof(buf)) == EVC_OK;
		}
		buf[pos] = was;
	}
	ok(accepted[0] == 1, "one magic");
	ok(accepted[1] == 5, "five suites");
	ok(accepted[2] == 4, "two flags");
	ok(accepted[3] == 1, "reserved byte is zero");

	memset(buf + 4, 0, 8);
	ok(parse(buf, sizeof(buf)) == EVC_MALFORMED, "kvid 0");
	memset(buf + 4, 0xff, 8);
	ok(parse(buf, sizeof(buf)) == EVC_MALFORMED, "kvid ffffffffffffffff");
	buf[11] = 0xfe;
	ok(parse(buf, sizeof(buf)) == EVC_OK, "kvid fffffffffffffffe is one");

	memcpy(buf, "EC plaintext by mistake", 23);
	ok(evc_envelope_parse(buf, 23, &(evc_envelope) {0}, &err) == EVC_MALFORMED &&
	   strcmp(err.msg, "malformed envelope: wrong first byte") == 0,
	   "the message names the rule and shows nothing");
}

static void
test_fields(void)
{
	uint8_t		buf[100] = {0};
	evc_envelope env;

	start(buf, 1);
	ok(evc_envelope_parse(buf, 60, &env, NULL) == EVC_OK && env.header == buf &&
	   env.kvid == buf + 4 && env.suite == 1 && env.flags == 0 &&
	   env.nonce.data == buf + 12 && env.nonce.len == 24 &&
	   env.body.data == buf + 36 && env.body.len == 8 && env.tag == buf + 44, "suite 01");
	buf[1] = 2;
	ok(evc_envelope_parse(buf, 92, &env, NULL) == EVC_OK &&
	   env.nonce.len == 24 && env.body.len == 8 && env.tag == buf + 44, "suite 02");
	buf[1] = 3;
	ok(evc_envelope_parse(buf, 36, &env, NULL) == EVC_OK &&
	   env.nonce.data == buf + 12 && env.nonce.len == 16 &&
	   env.body.data == buf + 28 && env.body.len == 8 && env.tag == NULL, "suite 03");
	buf[1] = 4;
	ok(evc_envelope_parse(buf, 60, &env, NULL) == EVC_OK && env.nonce.len == 24 &&
	   env.body.data == buf + 36 && env.body.len == 24 && env.tag == NULL, "suite 04");
	buf[1] = 5;
	ok(evc_envelope_parse(buf, 48, &env, NULL) == EVC_OK && env.nonce.len == 12 &&
	   env.body.data == buf + 24 && env.body.len == 8 && env.tag == buf + 32, "suite 05");
}

static evc_code
from_text(const char *text, size_t len)
{
	uint8_t		out[64];
	size_t		outlen;

	return evc_envelope_from_text(text, len, out, sizeof(out), &outlen, NULL);
}

static void
test_text(void)
{
	char		text[] = "\\xec030000010203040506070800000000000000000000000000000000";
	size_t		len = sizeof(text) - 1;
	uint8_t		out[28];
	size_t		outlen;

	ok(evc_envelope_from_text(text, len, out, sizeof(out), &outlen, NULL) == EVC_OK &&
	   outlen == 28 && out[0] == 0xec && out[11] == 8, "a text");
	ok(from_text(text + 2, len - 2) == EVC_MALFORMED, "digits alone");
	ok(from_text("", 0) == EVC_MALFORMED && from_text("\\", 1) == EVC_MALFORMED &&
	   from_text("\\x", 2) == EVC_MALFORMED, "nothing");
	ok(from_text(text, len - 1) == EVC_MALFORMED, "odd length");
	ok(from_text(text, len - 2) == EVC_MALFORMED, "a byte less");
	ok(evc_envelope_from_text(text, len, out, 27, &outlen, NULL) == EVC_TOO_LONG,
	   "no room");
	text[1] = 'X';
	ok(from_text(text, len) == EVC_MALFORMED, "upper-case X");
	text[1] = 'x';
	text[20] = ' ';
	ok(from_text(text, len) == EVC_MALFORMED, "blank inside");
}

int
main(void)
{
	test_lengths();
	test_chunks();
	test_header_rules();
	test_fields();
	test_text();
	return done_testing();
}
