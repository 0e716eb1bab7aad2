/*
 * direct.c
 *	  Finding a cipher's functions in its provider.
 */
#include "core/direct.h"

#include <string.h>
#include <strings.h>

#include <openssl/provider.h>

/* Whether one of the names between colons is this one. */
static bool
is_named(const char *names, const char *name)
{
	for (;;)
	{
		size_t		len = strcspn(names, ":");

		if (len == strlen(name) && strncasecmp(names, name, len) == 0)
			return true;
		if (names[len] == '\0')
			return false;
		names += len + 1;
	}
}

/* Pick the functions used here; false when one is missing. */
static bool
take_functions(const OSSL_DISPATCH *entry, evc_direct *f)
{
	for (; entry->function_id != 0; entry++)
	{
		switch (entry->function_id)
		{
			case OSSL_FUNC_CIPHER_NEWCTX:
				f->newctx = OSSL_FUNC_cipher_newctx(entry);
				break;
			case OSSL_FUNC_CIPHER_FREECTX:
				f->freectx = OSSL_FUNC_cipher_freectx(entry);
				break;
			case OSSL_FUNC_CIPHER_ENCRYPT_INIT:
				f->encrypt_init = OSSL_FUNC_cipher_encrypt_init(entry);
				break;
			case OSSL_FUNC_CIPHER_DECRYPT_INIT:
				f->decrypt_init = OSSL_FUNC_cipher_decrypt_init(entry);
				break;
			case OSSL_FUNC_CIPHER_UPDATE:
				f->update = OSSL_FUNC_cipher_update(entry);
				break;
			case OSSL_FUNC_CIPHER_FINAL:
				f->final = OSSL_FUNC_cipher_final(entry);
				break;
			case OSSL_FUNC_CIPHER_GET_CTX_PARAMS:
				f->get_ctx_params = OSSL_FUNC_cipher_get_ctx_params(entry);
				break;
			default:
				break;
		}
	}
	return f->newctx != NULL && f->freectx != NULL && f->encrypt_init != NULL &&
		f->decrypt_init != NULL && f->update != NULL && f->final != NULL &&
		f->get_ctx_params != NULL;
}

/*
 * A table that must not be kept (no_cache), or one with two implementations
 * of the name, which only their properties tell apart, is left to EVP.
 */
bool
evc_direct_find(const EVP_CIPHER *cipher, const char *name, evc_direct *f)
{
	const OSSL_PROVIDER *provider = EVP_CIPHER_get0_provider(cipher);
	const OSSL_ALGORITHM *all;
	const OSSL_ALGORITHM *found = NULL;
	evc_direct	d = {0};
	int			no_cache = 0;
	int			count = 0;
	bool		taken;

	if (provider == NULL ||
		(all = OSSL_PROVIDER_query_operation(provider, OSSL_OP_CIPHER, &no_cache)) == NULL)
		return false;
	for (const OSSL_ALGORITHM *a = all; a->algorithm_names != NULL; a++)
	{
		if (!is_named(a->algorithm_names, name))
			continue;
		found = a;
		count++;
	}
	taken = no_cache == 0 && count == 1 && take_functions(found->implementation, &d);
	OSSL_PROVIDER_unquery_operation(provider, OSSL_OP_CIPHER, all);
	if (!taken)
		return false;
	d.provider = OSSL_PROVIDER_get0_provider_ctx(provider);
	*f = d;
	return true;
}
