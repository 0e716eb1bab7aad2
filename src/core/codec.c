/*
 * codec.c
 *	  Strict text encodings.
 */
#include "core/codec.h"

#include "core/secret.h"

/* The value of a digit; sets *bad, and never clears it, for anything else. */
static inline unsigned int
nibble(unsigned char c, unsigned int *bad)
{
	unsigned int digit = (unsigned int) c - '0';
	unsigned int letter = (unsigned int) (c | 0x20) - 'a';
	unsigned int is_digit = digit < 10;
	unsigned int is_letter = letter < 6;

	*bad |= 1 ^ (is_digit | is_letter);
	return ((0 - is_digit) & digit) | ((0 - is_letter) & (letter + 10));
}

evc_code
evc_hex_decode(const char *text, size_t len, uint8_t *out, size_t cap,
			   size_t *outlen, evc_err *err)
{
	size_t		n = len / 2;
	unsigned int bad = 0;

	if (len % 2 != 0)
		return evc_fail(err, EVC_MALFORMED, "odd number of hexadecimal digits");
	if (n > cap)
		return evc_fail(err, EVC_TOO_LONG, "too many hexadecimal digits");

	for (size_t i = 0; i < n; i++)
	{
		unsigned int high = nibble((unsigned char) text[2 * i], &bad);
		unsigned int low = nibble((unsigned char) text[2 * i + 1], &bad);

		out[i] = (uint8_t) (high << 4 | low);
	}
	if (bad)
	{
		evc_wipe(out, n);
		return evc_fail(err, EVC_MALFORMED, "invalid hexadecimal digit");
	}
	*outlen = n;
	return EVC_OK;
}

void
evc_hex_encode(const uint8_t *in, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++)
	{
		out[2 * i] = digits[in[i] >> 4];
		out[2 * i + 1] = digits[in[i] & 15];
	}
}
