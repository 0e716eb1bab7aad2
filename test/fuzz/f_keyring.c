/*
 * f_keyring.c
 *	  libFuzzer target: the text of an export of keys.
 *
 * Every version that is read must be found by its kvid, and every wrap either
 * opens under the key file of docs/keys.md or says why it does not.
 */
#include <stdlib.h>
#include <string.h>

#include "kms/keyring.h"

static const char keyfile[] =
"{\"format\":\"envcrypt-local-keys\",\"version\":1,\"protection\":\"none\",\"keys\":{\"default\":"
"{\"primary\":\"9f0c0a1b2c3d4e5f\",\"versions\":{\"9f0c0a1b2c3d4e5f\":{\"algorithm\":\"aes-256-siv\","
"\"created\":\"2026-11-21T00:00:00Z\","
"\"secret\":\"202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\","
"\"check\":\"cd9bad080235b010\",\"state\":\"enabled\"}}}}}";

static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
unwrap_all(const evc_keyring *kr, const evc_keyfile *kf)
{
	for (size_t i = 0; i < kr->nentries; i++)
	{
		const evc_keyring_entry *e = &kr->entries[i];

		require(evc_keyring_find(kr, e->version->kvid) == i);
		for (size_t w = 0; w < e->version->nwraps; w++)
		{
			evc_err		err = EVC_ERR_INIT;
			evc_key		secret;

			if (evc_keyring_unwrap(e, &e->version->wraps[w], kf, &secret, &err) != EVC_OK)
				require(err.code != EVC_OK && err.msg[0] != '\0');
		}
	}
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyring *kr;
	evc_keyfile *kf;

	if (evc_keyring_parse((const char *) data, size, &kr, &err) != EVC_OK)
	{
		require(kr == NULL && err.code != EVC_OK && err.msg[0] != '\0');
		return 0;
	}
	require(evc_keyfile_parse(keyfile, strlen(keyfile), &kf, &err) == EVC_OK);
	unwrap_all(kr, kf);
	evc_keyfile_free(kf);
	evc_keyring_free(kr);
	return 0;
}
