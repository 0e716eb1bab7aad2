/*
 * vectors.h
 *	  Published test vectors, read from the folder ENVCRYPT_VECTORS
 *	  (by default ../shared/vectors), and hex strings in test code.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include <jansson.h>
#include <string.h>

#include "core/codec.h"
#include "tap.h"

/* A byte string with room to be changed. */
typedef struct octets
{
	uint8_t		b[16384];
	size_t		len;
} octets;

__attribute__((unused))
static octets
unhex(const char *text)
{
	octets		o = {{0}, 0};

	if (text == NULL ||
		evc_hex_decode(text, strlen(text), o.b, sizeof(o.b), &o.len, NULL) != EVC_OK)
	{
		printf("Bail out! bad hexadecimal digits in a test vector\n");
		exit(1);
	}
	return o;
}

__attribute__((unused))
static octets
member(const json_t *object, const char *name)
{
	return unhex(json_string_value(json_object_get(object, name)));
}

__attribute__((unused))
static bool
same_hex(const uint8_t *bytes, size_t len, const char *text)
{
	octets		o = unhex(text);

	return o.len == len && memcmp(o.b, bytes, len) == 0;
}

/* NULL, and one skipped test, where the folder is not there. */
__attribute__((unused))
static json_t *
load_vectors(const char *name)
{
	const char *dir = getenv("ENVCRYPT_VECTORS");
	char		path[1024];
	json_t	   *j;

	snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : "../shared/vectors", name);
	j = json_load_file(path, 0, NULL);
	if (j == NULL)
		skip(name, "no such file; set ENVCRYPT_VECTORS to the folder of test vectors");
	return j;
}

/* Call run for each test of a Wycheproof file whose group fits. */
typedef bool (*vector_fn) (const json_t *test, bool valid);

__attribute__((unused))
static void
run_wycheproof(const char *name, const char *size_name, int size, vector_fn run)
{
	json_t	   *j = load_vectors(name);
	json_t	   *group;
	json_t	   *test;
	size_t		i;
	size_t		k;
	int			failed = 0;
	int			count = 0;

	if (j == NULL)
		return;
	json_array_foreach(json_object_get(j, "testGroups"), i, group)
	{
		json_t	   *iv_size = json_object_get(group, "ivSize");

		if (size_name != NULL &&
			json_integer_value(json_object_get(group, size_name)) != size)
			continue;
		if (iv_size != NULL && json_integer_value(iv_size) != 96)
			continue;
		json_array_foreach(json_object_get(group, "tests"), k, test)
		{
			const char *result = json_string_value(json_object_get(test, "result"));

			count++;
			if (!run(test, strcmp(result, "valid") == 0))
			{
				failed++;
				diag("%s: test %lld", name,
					 (long long) json_integer_value(json_object_get(test, "tcId")));
			}
		}
	}
	ok(failed == 0 && count > 0, "%s: %d of %d vectors", name, count - failed, count);
	json_decref(j);
}

#endif							/* VECTORS_H */
