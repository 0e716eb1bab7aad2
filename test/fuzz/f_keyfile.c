/*
 * f_keyfile.c
 *	  libFuzzer target: the text of the local key file.
 *
 * Whatever is read must be written, read again and written to the same text;
 * a wrap made with it must open.
 */
#include <stdlib.h>
#include <string.h>

#include "core/registry.h"
#include "kms/keyfile.h"

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
round_trip(const evc_keyfile *kf)
{
	evc_err		err = EVC_ERR_INIT;
	evc_secret_text first;
	evc_secret_text second;
	evc_keyfile *again;

	require(evc_keyfile_serialize(kf, &first, &err) == EVC_OK);
	require(evc_keyfile_parse(first.data, first.len, &again, &err) == EVC_OK);
	require(evc_keyfile_serialize(again, &second, &err) == EVC_OK);
	require(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	evc_secret_text_free(&first);
	evc_secret_text_free(&second);
	evc_keyfile_free(again);
}

static void
wrap_and_open(const evc_keyfile *kf, const char *name)
{
	evc_err		err = EVC_ERR_INIT;
	evc_binding b = {.algorithm = EVC_ALG_XAES,.kvid = {1},.label = {(const uint8_t *) "l", 1}};
	evc_key		secret = {{42}};
	evc_key		got;
	uint8_t		wrap[EVC_LOCAL_WRAP_BYTES];

	require(evc_local_wrap(kf, name, &b, &secret, wrap, &err) == EVC_OK);
	require(evc_local_unwrap(kf, name, &b, wrap, sizeof(wrap), &got, &err) == EVC_OK);
	require(evc_equal(&secret, &got, sizeof(got)));
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;

	if (evc_keyfile_parse((const char *) data, size, &kf, &err) != EVC_OK)
	{
		require(kf == NULL && err.code != EVC_OK && err.msg[0] != '\0');
		return 0;
	}
	round_trip(kf);
	for (size_t i = 0; i < kf->nkeys; i++)
		wrap_and_open(kf, kf->keys[i].name);
	evc_keyfile_free(kf);
	return 0;
}
