/*
 * t_codec.c
 *	  Hexadecimal text, names and numbers of the registry, error objects.
 */
#include <string.h>

#include "core/codec.h"
#include "core/registry.h"
#include "tap.h"

static evc_code
decode(const char *text, size_t cap)
{
	uint8_t		out[16];
	size_t		len;

	return evc_hex_decode(text, strlen(text), out, cap, &len, NULL);
}

/* Every character in either place: exactly the 22 digits pass. */
static int
accepted_characters(void)
{
	int			accepted = 0;
	uint8_t		b;
	size_t		len;

	for (int c = 0; c < 256; c++)
	{
		char		first[2] = {(char) c, '0'};
		char		second[2] = {'0', (char) c};
		evc_code	code = evc_hex_decode(first, 2, &b, 1, &len, NULL);

		accepted += code == EVC_OK;
		if (code != evc_hex_decode(second, 2, &b, 1, &len, NULL))
			return -1;
	}
	return accepted;
}

static void
test_hex(void)
{
	uint8_t		all[256];
	uint8_t		back[256];
	char		text[512];
	size_t		len = 0;

	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t) i;
	evc_hex_encode(all, sizeof(all), text);
	ok(evc_hex_decode(text, sizeof(text), back, sizeof(back), &len, NULL) == EVC_OK &&
	   len == 256 && memcmp(all, back, 256) == 0, "all bytes there and back");
	ok(memcmp(text + 2 * 0xab, "abac", 4) == 0, "lower case");
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char) (text[i] >= 'a' ? text[i] - 32 : text[i]);
	ok(evc_hex_decode(text, sizeof(text), back, sizeof(back), &len, NULL) == EVC_OK &&
	   memcmp(all, back, 256) == 0, "upper case is read");
	ok(accepted_characters() == 22, "no other character is a digit");
	ok(decode("", 0) == EVC_OK, "nothing");
	ok(decode("abc", 16) == EVC_MALFORMED, "odd length");
	ok(decode("a b0", 16) == EVC_MALFORMED, "blank inside");
	ok(decode("aabb", 1) == EVC_TOO_LONG, "result beyond the room for it");
}

static void
test_registry(void)
{
	char		name[EVC_NAME_MAX + 1];
	int			opens = 0;
	int			named = 0;

	for (int a = 0; a < 256; a++)
	{
		const char *n = evc_algorithm_name((uint8_t) a);

		named += n != NULL && evc_algorithm_by_name(n) == a;
		for (int s = 0; s < 256; s++)
			opens += evc_algorithm_opens((uint8_t) a, (uint8_t) s);
	}
	ok(named == 5, "five algorithms");
	ok(opens == 4, "four pairs of algorithm and suite");
	ok(evc_algorithm_opens(EVC_ALG_XAES, EVC_SUITE_XAES) &&
	   evc_algorithm_opens(EVC_ALG_XAES, EVC_SUITE_XAES_CHUNKED) &&
	   evc_algorithm_opens(EVC_ALG_KC_XAES, EVC_SUITE_KC_XAES) &&
	   evc_algorithm_opens(EVC_ALG_SIV, EVC_SUITE_SIV), "and which");
	ok(evc_algorithm_seals(EVC_ALG_XAES) == 1 && evc_algorithm_seals(EVC_ALG_SIV) == 3 &&
	   evc_algorithm_seals(EVC_ALG_KC_XAES) == 0 && evc_algorithm_seals(EVC_ALG_HMAC) == 0 &&
	   evc_algorithm_seals(0) == 0, "what is sealed with");
	ok(evc_algorithm_by_name("aes-256-siv") == 3 && evc_algorithm_by_name("AES-256-SIV") == 0 &&
	   evc_algorithm_by_name("") == 0, "names are exact");

	memset(name, 'k', sizeof(name));
	ok(evc_name_valid(name, EVC_NAME_MAX) && !evc_name_valid(name, EVC_NAME_MAX + 1) &&
	   !evc_name_valid(name, 0), "1 to 128 characters");
	named = 0;
	for (int c = 0; c < 256; c++)
	{
		name[3] = (char) c;
		named += evc_name_valid(name, 5);
	}
	ok(named == 26 + 26 + 10 + 6, "of [A-Za-z0-9_.:@/-]");
}

static void
test_errors(void)
{
	evc_err		err = EVC_ERR_INIT;
	char		longer[2 * EVC_ERR_MSG_BYTES];

	memset(longer, 'm', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	ok(evc_fail(&err, EVC_TOO_LONG, "%s", longer) == EVC_TOO_LONG &&
	   err.code == EVC_TOO_LONG && strlen(err.msg) == EVC_ERR_MSG_BYTES - 1,
	   "a long message is cut");
	ok(evc_fail_errno(&err, EVC_FILE_ERROR, 13, "file %d", 7) == EVC_FILE_ERROR &&
	   err.sys_errno == 13 && strcmp(err.msg, "file 7") == 0, "errno is kept");
	ok(evc_fail(NULL, EVC_BAD_ARG, "nobody listens") == EVC_BAD_ARG, "no error object");
}

int
main(void)
{
	test_hex();
	test_registry();
	test_errors();
	return done_testing();
}
