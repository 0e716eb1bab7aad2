/*
 * t_keyfile.c
 *	  The local key file: every rule of the format with a file that breaks it,
 *	  and that no secret is left in freed memory.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/registry.h"
#include "kms/keyfile.h"
#include "keyfile_sample.h"
#include "tap.h"

/* ----- helpers ----- */

static void
refused(const char *what, const char *text, const char *message)
{
	evc_err		err = EVC_ERR_INIT;

	evc_keyfile_free(parse(text, EVC_FILE_FORMAT, &err));
	ok(err.code == EVC_FILE_FORMAT && strstr(err.msg, message) != NULL &&
	   strstr(err.msg, "2021") == NULL, "refused: %s (%s)", what, err.msg);
}

/* The good file with the first "from" replaced. */
static const char *
with(const char *from, const char *to)
{
	static char text[8192];
	const char *good = GOOD;
	const char *at = strstr(good, from);

	if (at == NULL)
	{
		ok(false, "no \"%s\" in the file", from);
		return "";
	}
	snprintf(text, sizeof(text), "%.*s%s%s", (int) (at - good), good, to,
			 at + strlen(from));
	return text;
}

static void
replaced(const char *what, const char *from, const char *to, const char *message)
{
	refused(what, with(from, to), message);
}

/* ----- tests ----- */

static void
test_parse(void)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf = parse(GOOD, EVC_OK, &err);
	const evc_root_key *key = evc_keyfile_find(kf, "default");

	ok(kf->nkeys == 1 && key != NULL && key->nversions == 1, "the vector's file is read");
	ok(key->versions[0].secret.b[0] == 0x20 && key->versions[0].secret.b[31] == 0x3f,
	   "its secret is the one written there");
	ok(evc_keyfile_find(kf, "other") == NULL, "no root key of another name");
	evc_keyfile_free(kf);
	evc_keyfile_free(NULL);

	kf = parse(FILE_WITH(""), EVC_OK, &err);
	ok(kf != NULL && kf->nkeys == 0, "a file without root keys is read");
	evc_keyfile_free(kf);
	kf = parse(with("}}}}}", "}}}}}\n\n"), EVC_OK, &err);
	ok(kf != NULL, "blanks after the end are no matter");
	evc_keyfile_free(kf);
	kf = parse(FILE_WITH("\"a\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}},"
						 "\"b\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}}"),
			   EVC_OK, &err);
	ok(kf != NULL && kf->nkeys == 2, "one id under two root keys is read");
	evc_keyfile_free(kf);
	kf = parse(FILE_WITH("\"a\":{\"primary\":\"0000000000000000\",\"versions\":{\"0000000000000000\":"
						 "{\"algorithm\":\"aes-256-siv\",\"created\":\"9999-99-99T99:99:99Z\",\"secret\":\"" SECRET
						 "\",\"check\":\"0e458a949229019d\",\"state\":\"enabled\"}}}"), EVC_OK, &err);
	ok(kf != NULL && kf->nkeys == 1, "an id of zeros, and a time by its form alone");
	evc_keyfile_free(kf);
}

static void
test_form_refused(void)
{
	char		deep[200];

	refused("empty", "", "not valid JSON");
	refused("no JSON", "secret", "not valid JSON");
	refused("an array", "[]", "not an object");
	refused("a byte order mark", "\xef\xbb\xbf" GOOD, "not valid JSON");
	refused("text after the end", with("}}}}}", "}}}}}x"), "not valid JSON");
	replaced("truncated", "\"state\":\"enabled\"}}}}}", "", "not valid JSON");
	replaced("cut in the secret", SECRET "\",\"check\":\"" CHECK "\",\"state\":\"enabled\"}}}}}",
			 "202122", "not valid JSON");
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	refused("nested too deep", deep, "levels deep");
	replaced("a NUL in a string", "\"none\"", "\"none\\u0000\"", "not valid JSON");
	replaced("another format", "envcrypt-local-keys", "envcrypt-keys", "\"format\"");
	replaced("another version", "\"version\":1", "\"version\":2", "\"version\"");
	replaced("a version that is a string", "\"version\":1", "\"version\":\"1\"", "not an integer");
	replaced("a version with a fraction", "\"version\":1", "\"version\":1.0", "not an integer");
	replaced("a version with an exponent", "\"version\":1", "\"version\":1e0", "not an integer");
	replaced("another protection", "\"none\"", "\"passphrase\"", "\"protection\"");
	replaced("a protection that is null", "\"none\"", "null", "not a string");
	replaced("keys that are a list", "\"keys\":{", "\"keys\":[],\"x\":{", "not an object");
	replaced("no protection", "\"protection\":\"none\",", "", "no \"protection\"");
	replaced("an unknown member of the file", "\"version\":1", "\"version\":1,\"extra\":1", "does not know");
	replaced("an unknown member of a root key", "\"versions\"", "\"comment\":\"\",\"versions\"", "does not know");
	replaced("an unknown member of a version", "\"state\"", "\"note\":\"\",\"state\"", "does not know");
}

static void
test_duplicates_refused(void)
{
	replaced("a member of the file twice", "\"version\":1", "\"version\":1,\"version\":1", "twice");
	replaced("a member of a version twice", "\"state\"", "\"state\":\"disabled\",\"state\"", "twice");
	refused("a root key twice",
			FILE_WITH("\"a\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}},"
					  "\"a\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}}"),
			"twice");
	refused("a root key twice, once escaped",
			FILE_WITH("\"a\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}},"
					  "\"\\u0061\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled") "}}"),
			"twice");
	refused("a version twice",
			FILE_WITH("\"a\":{\"primary\":\"" ID "\",\"versions\":{\"" ID "\":" VERSION("enabled")
					  ",\"" ID "\":" VERSION("disabled") "}}"),
			"twice");
}

static void
test_values_refused(void)
{
	char		name[EVC_NAME_MAX + 16];

	replaced("an empty name", "\"default\"", "\"\"", "name");
	replaced("a name with a blank", "\"default\"", "\"de fault\"", "name");
	replaced("a name that is not ASCII", "\"default\"", "\"d\\u00e9faut\"", "name");
	memset(name, 'a', sizeof(name));
	name[0] = name[EVC_NAME_MAX + 2] = '"';
	name[EVC_NAME_MAX + 3] = '\0';
	replaced("a name of 129", "\"default\"", name, "name");
	replaced("no primary", "\"primary\":\"" ID "\",", "", "no \"primary\"");
	replaced("a primary that is not there", "\"primary\":\"" ID, "\"primary\":\"" ID2, "not among");
	replaced("a primary that is no id", "\"primary\":\"" ID, "\"primary\":\"9f", "\"primary\"");
	replaced("a primary that is disabled", "\"enabled\"", "\"disabled\"", "is disabled");
	replaced("an id in upper case", "{\"" ID "\"", "{\"9F0C0A1B2C3D4E5F\"", "version id");
	replaced("an id too short", "{\"" ID "\"", "{\"9f0c0a1b2c3d4e5\"", "version id");
	replaced("an id too long", "{\"" ID "\"", "{\"" ID "00\"", "version id");
	replaced("another id: the check tells", "{\"" ID "\"", "{\"" ID2 "\"", "check value");
	replaced("another algorithm", "aes-256-siv", "aes-256-gcm", "\"algorithm\"");
	replaced("a time without seconds", "T00:00:00Z", "T00:00Z", "\"created\"");
	replaced("a time with a zone", "T00:00:00Z", "T00:00:00+01:00", "\"created\"");
	replaced("a time with text after it", "T00:00:00Z", "T00:00:00Zx", "\"created\"");
	replaced("a secret too short", SECRET, "20212223", "\"secret\"");
	replaced("a secret too long", SECRET, SECRET "00", "\"secret\"");
	replaced("a secret in upper case", "2a2b2c", "2A2B2C", "\"secret\"");
	replaced("a secret that is no hex", "2a2b2c", "2a2g2c", "\"secret\"");
	replaced("a changed secret", "2a2b2c", "2a2b2d", "check value");
	replaced("a changed check", CHECK, "cd9bad080235b011", "check value");
	replaced("a check too short", CHECK, "cd9b", "\"check\"");
	replaced("no check", "\"check\":\"" CHECK "\",", "", "no \"check\"");
	replaced("another state", "\"enabled\"", "\"Enabled\"", "\"state\"");
	replaced("no versions", "{\"" ID "\":" VERSION("enabled") "}", "{}", "not among");
}

static void
test_too_large(void)
{
	size_t		len = EVC_KEYFILE_MAX;
	char	   *text = malloc(len + 1);
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;

	memset(text, ' ', len + 1);
	memcpy(text, GOOD, strlen(GOOD));
	ok(evc_keyfile_parse(text, len, &kf, &err) == EVC_OK, "a file of 1 MiB is read");
	evc_keyfile_free(kf);
	ok(evc_keyfile_parse(text, len + 1, &kf, &err) == EVC_FILE_FORMAT && kf == NULL,
	   "a file one byte longer is refused (%s)", err.msg);
	evc_wipe(text, len);
	free(text);
}

static void
test_write(void)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;
	evc_secret_text text;
	char		name[EVC_NAME_MAX + 2];

	ok(evc_keyfile_new(&kf, &err) == EVC_OK &&
	   evc_keyfile_add(kf, "one", 1795219200, &err) == EVC_OK, "a new key file");
	ok(strcmp(kf->keys[0].versions[0].created, "2026-11-21T00:00:00Z") == 0, "its time is UTC");
	ok(evc_keyfile_add(kf, "one", 0, &err) == EVC_BAD_ARG, "a name is not given twice (%s)", err.msg);
	memset(name, 'n', sizeof(name));
	name[EVC_NAME_MAX + 1] = '\0';
	ok(evc_keyfile_add(kf, name, 0, &err) == EVC_BAD_ARG, "no name of 129");
	name[EVC_NAME_MAX] = '\0';
	ok(evc_keyfile_add(kf, name, 0, &err) == EVC_OK, "a name of 128");
	ok(evc_keyfile_add(kf, "", 0, &err) == EVC_BAD_ARG, "no empty name");
	ok(memcmp(&kf->keys[0].versions[0].secret, &kf->keys[1].versions[0].secret, 32) != 0 &&
	   memcmp(kf->keys[0].versions[0].id, kf->keys[1].versions[0].id, 8) != 0,
	   "secrets and ids differ");
	ok(evc_keyfile_serialize(kf, &text, &err) == EVC_OK, "written");
	evc_keyfile_free(kf);
	ok(evc_keyfile_parse(text.data, text.len, &kf, &err) == EVC_OK && kf->nkeys == 2,
	   "and read again");
	evc_keyfile_free(kf);
	evc_secret_text_free(&text);
}

/* jansson's allocator belongs to whoever set it. */
static void *
their_malloc(size_t size)
{
	return malloc(size);
}

static void
their_free(void *p)
{
	free(p);
}

static void
test_allocator(void)
{
	json_malloc_t m;
	json_free_t f;
	evc_err		err = EVC_ERR_INIT;

	json_set_alloc_funcs(their_malloc, their_free);
	evc_keyfile_free(parse(GOOD, EVC_OK, &err));
	json_get_alloc_funcs(&m, &f);
	ok(m == their_malloc && f == their_free, "jansson's allocator is put back");
	evc_keyfile_free(parse("{", EVC_FILE_FORMAT, &err));
	json_get_alloc_funcs(&m, &f);
	ok(m == their_malloc && f == their_free, "also after a failure");
	json_set_alloc_funcs(malloc, free);
}

static void
test_open(void)
{
	char		dir[] = "/tmp/evc-keyfile-XXXXXX";
	char		path[64];
	evc_file_rule rule = {.owner = geteuid()};
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;
	FILE	   *f;

	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(path, sizeof(path), "%s/k.json", dir);
	ok(evc_keyfile_open(path, &rule, &kf, &err) == EVC_FILE_MISSING && kf == NULL &&
	   strstr(err.msg, path) != NULL && strstr(err.msg, "does not exist") != NULL,
	   "a missing file (%s)", err.msg);
	f = fopen(path, "w");
	setvbuf(f, NULL, _IONBF, 0);
	fputs(GOOD, f);
	fclose(f);
	chmod(path, 0600);
	ok(evc_keyfile_open(path, &rule, &kf, &err) == EVC_OK, "a file is opened (%s)", err.msg);
	evc_keyfile_free(kf);
	chmod(path, 0604);
	ok(evc_keyfile_open(path, &rule, &kf, &err) == EVC_FILE_UNSAFE && kf == NULL,
	   "not when others may read it (%s)", err.msg);
	chmod(path, 0600);
	if (truncate(path, 300) != 0)
		abort();
	ok(evc_keyfile_open(path, &rule, &kf, &err) == EVC_FILE_FORMAT && kf == NULL &&
	   strstr(err.msg, path) != NULL, "not when truncated (%s)", err.msg);
	unlink(path);
	rmdir(dir);
}

int
main(void)
{
	watch_works();
	test_parse();
	test_form_refused();
	test_duplicates_refused();
	test_values_refused();
	test_too_large();
	test_write();
	test_allocator();
	test_open();
	ok(unwiped == 0, "no freed memory held a secret (%d did)", unwiped);
	return done_testing();
}
