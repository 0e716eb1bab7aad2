/*
 * registry.c
 *	  Names and relations of the registered numbers.
 */
#include "core/registry.h"

#include <string.h>

typedef struct algorithm
{
	uint8_t		number;
	uint8_t		seals;			/* suite, or 0 */
	uint8_t		opens[2];		/* suites, 0 for none */
	const char *name;
} algorithm;

static const algorithm algorithms[] = {
	{EVC_ALG_XAES, EVC_SUITE_XAES, {EVC_SUITE_XAES, EVC_SUITE_XAES_CHUNKED}, "xaes-256-gcm"},
	{EVC_ALG_KC_XAES, 0, {EVC_SUITE_KC_XAES, 0}, "kc-xaes-256-gcm"},
	{EVC_ALG_SIV, EVC_SUITE_SIV, {EVC_SUITE_SIV, 0}, "aes-256-siv"},
	{EVC_ALG_HMAC, 0, {0, 0}, "hmac-sha-256"},
	{EVC_ALG_KEY_WRAP, 0, {0, 0}, "key-wrap"},
};

#define NALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

static const algorithm *
find_algorithm(uint8_t number)
{
	for (size_t i = 0; i < NALGORITHMS; i++)
	{
		if (algorithms[i].number == number)
			return &algorithms[i];
	}
	return NULL;
}

const char *
evc_algorithm_name(uint8_t number)
{
	const algorithm *a = find_algorithm(number);

	return a != NULL ? a->name : NULL;
}

uint8_t
evc_algorithm_by_name(const char *name)
{
	for (size_t i = 0; i < NALGORITHMS; i++)
	{
		if (strcmp(algorithms[i].name, name) == 0)
			return algorithms[i].number;
	}
	return 0;
}

uint8_t
evc_algorithm_seals(uint8_t number)
{
	const algorithm *a = find_algorithm(number);

	return a != NULL ? a->seals : 0;
}

bool
evc_algorithm_opens(uint8_t number, uint8_t suite)
{
	const algorithm *a = find_algorithm(number);

	return a != NULL && suite != 0 &&
		(a->opens[0] == suite || a->opens[1] == suite);
}

/* By hand: isalnum() would let the locale decide what a key name is. */
static bool
name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') ||
		(c != '\0' && strchr("_.:@/-", c) != NULL);
}

bool
evc_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > EVC_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (!name_char(name[i]))
			return false;
	}
	return true;
}
