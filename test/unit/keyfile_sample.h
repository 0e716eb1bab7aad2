/*
 * keyfile_sample.h
 *	  The key file of docs/keys.md's vectors, and a free() that sees when memory
 *	  still holds its secret.
 */
#ifndef KEYFILE_SAMPLE_H
#define KEYFILE_SAMPLE_H

#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "kms/keyfile.h"
#include "tap.h"

#define ID		"9f0c0a1b2c3d4e5f"
#define ID2		"00000000000000aa"
#define SECRET	"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
#define CHECK	"cd9bad080235b010"
#define VERSION(state) \
	"{\"algorithm\":\"aes-256-siv\",\"created\":\"2026-11-21T00:00:00Z\"," \
	"\"secret\":\"" SECRET "\",\"check\":\"" CHECK "\",\"state\":\"" state "\"}"
#define FILE_WITH(keys) \
	"{\"format\":\"envcrypt-local-keys\",\"version\":1,\"protection\":\"none\",\"keys\":{" keys "}}"
#define GOOD \
	FILE_WITH("\"default\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}}")

/* ----- a free() that looks for what should have been wiped ----- */

static int	unwiped = 0;

#if defined(__SANITIZE_ADDRESS__)
#define WATCHING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHING 0
#endif
#endif
#ifndef WATCHING
#define WATCHING 1

__attribute__((visibility("default"))) void
free(void *p)
{
	static void (*real_free) (void *) = NULL;
	static const uint8_t head[8] = {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27};
	static const uint8_t tail[8] = {0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f};
	size_t		size;

	if (real_free == NULL)
		*(void **) &real_free = dlsym(RTLD_NEXT, "free");
	if (p == NULL)
		return;
	size = malloc_usable_size(p);
	if (memmem(p, size, head, 8) != NULL || memmem(p, size, tail, 8) != NULL ||
		memmem(p, size, SECRET, 16) != NULL || memmem(p, size, SECRET + 48, 16) != NULL)
		unwiped++;
	real_free(p);
}
#endif

/* Under AddressSanitizer or valgrind free() is theirs. */
static void
watch_works(void)
{
	const char *preload = getenv("LD_PRELOAD");
	char	   *p;

	if (!WATCHING || (preload != NULL && strstr(preload, "vgpreload") != NULL))
	{
		skip("the watch on freed memory", "free() belongs to a memory checker");
		return;
	}
	p = malloc(100);
	strcpy(p, SECRET);
	__asm__ volatile ("" : : "r" (p) : "memory");	/* or gcc drops the copy */
	free(p);
	ok(unwiped == 1, "the watch on freed memory sees a secret that was not wiped");
	unwiped = 0;
}

static evc_keyfile *
parse(const char *text, evc_code expected, evc_err *err)
{
	evc_keyfile *kf = (evc_keyfile *) &unwiped; /* must be overwritten */
	evc_code	code = evc_keyfile_parse(text, strlen(text), &kf, err);

	if (code != expected || (code == EVC_OK) != (kf != NULL))
	{
		ok(false, "code %d, expected %d: %s", code, expected, err->msg);
		return NULL;
	}
	return kf;
}

#endif							/* KEYFILE_SAMPLE_H */
