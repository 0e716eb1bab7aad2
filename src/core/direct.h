/*
 * direct.h
 *	  The functions of an OpenSSL provider that EVP itself calls for a cipher.
 *
 * For a short value EVP takes a third of the time to find its way to them.
 * OSSL_PROVIDER_query_operation gives them to anybody.
 */
#ifndef EVC_DIRECT_H
#define EVC_DIRECT_H

#include <stdbool.h>

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>

typedef struct evc_direct
{
	void	   *provider;		/* what newctx wants */
	OSSL_FUNC_cipher_newctx_fn *newctx;
	OSSL_FUNC_cipher_freectx_fn *freectx;
	OSSL_FUNC_cipher_encrypt_init_fn *encrypt_init;
	OSSL_FUNC_cipher_decrypt_init_fn *decrypt_init;
	OSSL_FUNC_cipher_update_fn *update;
	OSSL_FUNC_cipher_final_fn *final;
	OSSL_FUNC_cipher_get_ctx_params_fn *get_ctx_params;
} evc_direct;

/*
 * Look a fetched cipher up in its own provider, so that whatever the
 * administrator configured, FIPS included, is what runs.  False when that is
 * not possible.  The functions last as long as the cipher, which holds the
 * provider in memory.
 */
extern bool evc_direct_find(const EVP_CIPHER *cipher, const char *name, evc_direct *f);

#endif							/* EVC_DIRECT_H */
