/*
 * t_local.c
 *	  Wraps under root keys of the local key file: docs/keys.md's vectors, and
 *	  what must not open.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdlib.h>
#include <string.h>

#include "core/codec.h"
#include "core/registry.h"
#include "kms/keyfile.h"
#include "keyfile_sample.h"
#include "tap.h"

#define WRAP \
	"019f0c0a1b2c3d4e5fa26679e8d3f67ef5693c4298fddfc9493d4a92499ff222b1ae97234f07347fbb" \
	"1d193a10a9a063f7d73459277c1486855ee85ff4bcc15a56de2974a3"

/* The same for algorithm 03 and a label of 128 times "a". */
#define LONG_WRAP \
	"019f0c0a1b2c3d4e5f509e59e001ff49984bda57dfd6d805b1e4dae88e4151fbb0fef9b1ea731a7604" \
	"3a8ae8995ab179adf226abe33306f005d4892b5110fb52cd7ca4da6d"

static evc_binding
vector_binding(const char *label)
{
	evc_binding b = {.algorithm = EVC_ALG_XAES,.kvid = {1, 2, 3, 4, 5, 6, 7, 8}};

	b.label.data = (const uint8_t *) label;
	b.label.len = strlen(label);
	return b;
}

static evc_key
counting_key(void)
{
	evc_key		key;

	for (int i = 0; i < EVC_KEY_BYTES; i++)
		key.b[i] = (uint8_t) i;
	return key;
}

static void
check_vector(const evc_keyfile *kf, const evc_binding *b, const char *hex, const char *what)
{
	evc_err		err = EVC_ERR_INIT;
	evc_key		secret = counting_key();
	evc_key		got = {{0}};
	uint8_t		wrap[EVC_LOCAL_WRAP_BYTES];
	uint8_t		expected[EVC_LOCAL_WRAP_BYTES];
	size_t		n;

	ok(evc_hex_decode(hex, strlen(hex), expected, sizeof(expected), &n, &err) == EVC_OK &&
	   n == EVC_LOCAL_WRAP_BYTES, "%s: 69 bytes", what);
	ok(evc_local_wrap(kf, "default", b, &secret, wrap, &err) == EVC_OK &&
	   memcmp(wrap, expected, sizeof(wrap)) == 0, "%s: made", what);
	ok(evc_local_unwrap(kf, "default", b, expected, sizeof(expected), &got, &err) == EVC_OK &&
	   memcmp(&got, &secret, sizeof(got)) == 0, "%s: opened", what);
}

static void
test_vectors(void)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf = parse(GOOD, EVC_OK, &err);
	evc_binding b = vector_binding("pii");
	char		label[EVC_NAME_MAX + 1];

	check_vector(kf, &b, WRAP, "the wrap of the vector");
	memset(label, 'a', EVC_NAME_MAX);
	label[EVC_NAME_MAX] = '\0';
	b = vector_binding(label);
	b.algorithm = EVC_ALG_SIV;
	check_vector(kf, &b, LONG_WRAP, "the wrap with the longest label");
	evc_keyfile_free(kf);
}

static void
unwrap_fails(const evc_keyfile *kf, const char *what, const char *name,
			 const evc_binding *b, const uint8_t *wrap, size_t len, evc_code expected)
{
	evc_err		err = EVC_ERR_INIT;
	evc_key		got;
	evc_code	code;

	memset(&got, 0xa5, sizeof(got));
	code = evc_local_unwrap(kf, name, b, wrap, len, &got, &err);
	ok(code == expected && err.code == expected && memmem(&got, 32, "\0\1\2\3", 4) == NULL,
	   "not opened: %s (%s)", what, err.msg);
}

static void
test_unwrap_refused(void)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf = parse(GOOD, EVC_OK, &err);
	evc_binding b = vector_binding("pii");
	evc_binding other = b;
	evc_key		secret = counting_key();
	uint8_t		wrap[EVC_LOCAL_WRAP_BYTES + 1] = {0};
	int			bad = 0;

	ok(evc_local_wrap(kf, "default", &b, &secret, wrap, &err) == EVC_OK, "a wrap to change");
	ok(evc_local_wrap(kf, "none", &b, &secret, wrap, &err) == EVC_NO_ROOT_KEY,
	   "no wrap under a root key that is not there (%s)", err.msg);
	other = vector_binding("pij");
	unwrap_fails(kf, "another label", "default", &other, wrap, 69, EVC_BAD_WRAP);
	other = vector_binding("pii2");
	unwrap_fails(kf, "a longer label", "default", &other, wrap, 69, EVC_BAD_WRAP);
	other = b;
	other.algorithm = EVC_ALG_SIV;
	unwrap_fails(kf, "another algorithm", "default", &other, wrap, 69, EVC_BAD_WRAP);
	other = b;
	other.kvid[7] ^= 1;
	unwrap_fails(kf, "another kvid", "default", &other, wrap, 69, EVC_BAD_WRAP);
	unwrap_fails(kf, "a byte less", "default", &b, wrap, 68, EVC_BAD_WRAP);
	unwrap_fails(kf, "a byte more", "default", &b, wrap, 70, EVC_BAD_WRAP);
	unwrap_fails(kf, "nothing", "default", &b, wrap, 0, EVC_BAD_WRAP);
	unwrap_fails(kf, "another root key's name", "other", &b, wrap, 69, EVC_NO_ROOT_KEY);
	wrap[0] = 2;
	unwrap_fails(kf, "a wrap under a parent key", "default", &b, wrap, 69, EVC_BAD_WRAP);
	wrap[0] = 1;
	wrap[8] ^= 1;
	unwrap_fails(kf, "another root key version", "default", &b, wrap, 69, EVC_NO_ROOT_KEY);
	wrap[8] ^= 1;
	for (size_t i = 9; i < EVC_LOCAL_WRAP_BYTES; i++)
	{
		evc_key		got;

		wrap[i] ^= 0x80;
		bad += evc_local_unwrap(kf, "default", &b, wrap, 69, &got, &err) != EVC_BAD_WRAP;
		wrap[i] ^= 0x80;
	}
	ok(bad == 0, "not opened: one bit changed, in each of 60 bytes");
	evc_keyfile_free(kf);
}

/* Two versions of one root key, the vector's disabled; made by our own writer. */
static void
test_disabled(void)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf = parse(GOOD, EVC_OK, &err);
	evc_root_key *key;
	evc_root_version *grown;
	evc_binding b = vector_binding("pii");
	uint8_t		wrap[EVC_LOCAL_WRAP_BYTES];
	size_t		n;
	evc_secret_text text;

	ok(evc_keyfile_add(kf, "second", 1795219200, &err) == EVC_OK, "a root key is added");
	key = &kf->keys[0];
	grown = calloc(2, sizeof(*grown));
	grown[0] = key->versions[0];
	grown[0].enabled = false;
	grown[1] = kf->keys[1].versions[0];
	evc_wipe(key->versions, sizeof(*grown));
	free(key->versions);
	key->versions = grown;
	key->nversions = 2;
	key->primary = 1;
	ok(evc_keyfile_serialize(kf, &text, &err) == EVC_OK, "written");
	evc_keyfile_free(kf);
	ok(evc_keyfile_parse(text.data, text.len, &kf, &err) == EVC_OK, "and read again (%s)", err.msg);
	evc_secret_text_free(&text);
	ok(evc_hex_decode(WRAP, strlen(WRAP), wrap, sizeof(wrap), &n, &err) == EVC_OK, "vector");
	unwrap_fails(kf, "a disabled version", "default", &b, wrap, 69, EVC_ROOT_KEY_DISABLED);
	key = &kf->keys[0];
	ok(key->nversions == 2 && key->primary == 1 && !key->versions[0].enabled &&
	   key->versions[1].enabled, "states and primary came through");
	evc_keyfile_free(kf);
}

int
main(void)
{
	watch_works();
	test_vectors();
	test_unwrap_refused();
	test_disabled();
	ok(unwiped == 0, "no freed memory held a secret (%d did)", unwiped);
	return done_testing();
}
