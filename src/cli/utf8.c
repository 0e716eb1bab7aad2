/*
 * utf8.c
 *	  Whether bytes are text that a PostgreSQL database can hold.
 */
#include "cli/utf8.h"

#include <stdint.h>

static bool
is_tail(uint8_t b)
{
	return (b & 0xc0) == 0x80;
}

/* Bytes of the character at p, 0 when it is none. */
static size_t
char_len(const uint8_t *p, size_t left)
{
	if (p[0] < 0x80)
		return p[0] != 0;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return left >= 2 && is_tail(p[1]) ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] <= 0xef)
	{
		if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]) ||
			(p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
			return 0;
		return 3;
	}
	if (p[0] < 0xf0 || p[0] > 0xf4 || left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return 4;
}

bool
cli_is_text(const char *s, size_t len)
{
	const uint8_t *p = (const uint8_t *) s;

	while (len > 0)
	{
		size_t		n = char_len(p, len);

		if (n == 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}
