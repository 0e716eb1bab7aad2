/*
 * f_text.c
 *	  Fuzzes the text input of a sealed value: what is taken is written back
 *	  as the same text in lower case, and is an envelope.
 */
#include <stdlib.h>
#include <string.h>

#include "core/codec.h"
#include "core/envelope.h"

#define REQUIRE(condition) ((condition) ? (void) 0 : abort())

static char
lower(char c)
{
	return c >= 'A' && c <= 'F' ? (char) (c + 32) : c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	size_t		cap = size / 2;
	uint8_t    *out = malloc(cap + 1);
	char	   *back = malloc(size + 1);
	evc_envelope env;
	evc_err		err = EVC_ERR_INIT;
	size_t		len = 0;

	REQUIRE(out != NULL && back != NULL);
	if (evc_envelope_from_text(text, size, out, cap, &len, &err) != EVC_OK)
		REQUIRE(err.code == EVC_MALFORMED && err.msg[0] != '\0');
	else
	{
		REQUIRE(size == 2 + 2 * len && evc_envelope_parse(out, len, &env, NULL) == EVC_OK);
		evc_hex_encode(out, len, back);
		for (size_t i = 2; i < size; i++)
			REQUIRE(lower(text[i]) == back[i - 2]);
	}
	free(out);
	free(back);
	return 0;
}
