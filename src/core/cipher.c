/*
 * cipher.c
 *	  AES-256 contexts of either kind, and the choice of the kind.
 */
#include "core/cipher.h"

#include <limits.h>
#include <string.h>

#include <openssl/err.h>

#include "core/direct.h"
#include "core/secret.h"
#include "core/selftest.h"

static const char *const names[EVC_MODES] = {
	"AES-256-ECB", "AES-256-CBC", "AES-256-CTR", "AES-256-GCM"
};

/* Usable while pid is this process's. */
static struct
{
	pid_t		pid;
	EVP_CIPHER *fetched[EVC_MODES];
	evc_direct	f[EVC_MODES];
	bool		direct;			/* the one switch: f for all, or EVP for all */
}			state;

static bool evp_forced;

evc_code
evc_crypto_fail(evc_err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	(void) evc_fail(err, EVC_CRYPTO, "OpenSSL refused %s: %s", what,
					reason != NULL ? reason : "no reason given");
	ERR_clear_error();
	return EVC_CRYPTO;
}

evc_code
evc_auth_fail(evc_err *err)
{
	ERR_clear_error();
	return evc_fail(err, EVC_AUTH_FAILED,
					"authentication failed: wrong context or modified data");
}

void
evc_block_double(uint8_t block[EVC_BLOCK_BYTES])
{
	unsigned int carry = block[0] >> 7;

	for (int i = 0; i < EVC_BLOCK_BYTES - 1; i++)
		block[i] = (uint8_t) (block[i] << 1 | block[i + 1] >> 7);
	block[EVC_BLOCK_BYTES - 1] =
		(uint8_t) (block[EVC_BLOCK_BYTES - 1] << 1 ^ (0x87 & (0 - carry)));
}

static bool
make_direct(evc_cipher *c, evc_mode mode)
{
	c->f = &state.f[mode];
	c->direct = c->f->newctx(c->f->provider);
	return c->direct != NULL;
}

static bool
make_evp(evc_cipher *c, evc_mode mode)
{
	c->evp = EVP_CIPHER_CTX_new();
	return c->evp != NULL &&
		EVP_EncryptInit_ex2(c->evp, state.fetched[mode], NULL, NULL, NULL) == 1;
}

evc_code
evc_cipher_key(evc_cipher *c, evc_mode mode, const uint8_t *key, evc_err *err)
{
	evc_code	code;
	bool		done = true;

	if (c->direct == NULL && c->evp == NULL)
	{
		if ((code = evc_cipher_prepare(err)) != EVC_OK)
			return code;
		done = state.direct && !evp_forced ? make_direct(c, mode) : make_evp(c, mode);
	}
	done = done && (c->f != NULL ?
					c->f->encrypt_init(c->direct, key, EVC_KEY_BYTES, NULL, 0, NULL) == 1 :
					EVP_EncryptInit_ex2(c->evp, NULL, key, NULL, NULL) == 1);
	if (done)
		return EVC_OK;
	(void) evc_crypto_fail(err, "a cipher key");
	evc_cipher_clear(c);
	return EVC_CRYPTO;
}

void
evc_cipher_clear(evc_cipher *c)
{
	if (c->direct != NULL)
		c->f->freectx(c->direct);
	EVP_CIPHER_CTX_free(c->evp);
	memset(c, 0, sizeof(*c));
}

bool
evc_cipher_start(evc_cipher *c, const uint8_t *iv, size_t len)
{
	if (c->f != NULL)
		return c->f->encrypt_init(c->direct, NULL, 0, iv, len, NULL) == 1;
	return EVP_EncryptInit_ex2(c->evp, NULL, NULL, iv, NULL) == 1;
}

/*
 * A provider wants room for all bytes even where it writes none, as for
 * associated data.
 */
bool
evc_cipher_update(evc_cipher *c, const uint8_t *in, size_t len, uint8_t *out)
{
	size_t		done = 0;
	int			evp_done = 0;

	if (len == 0)
		return true;
	if (c->f != NULL)
		return c->f->update(c->direct, out, &done, len, in, len) == 1 && done == len;
	return len <= INT_MAX &&
		EVP_CipherUpdate(c->evp, out, &evp_done, in, (int) len) == 1 &&
		(size_t) evp_done == len;
}

void
evc_cipher_force_evp(bool force)
{
	evp_forced = force;
}

/* Whether the provider's functions for a mode are there and do what EVP does. */
static bool
direct_works(evc_mode mode)
{
	evc_cipher	direct = {NULL, NULL, NULL};
	evc_cipher	evp = {NULL, NULL, NULL};
	bool		works = evc_direct_find(state.fetched[mode], names[mode], &state.f[mode]) &&
		make_direct(&direct, mode) && make_evp(&evp, mode) &&
		evc_selftest_agree(mode, &evp, &direct);

	evc_cipher_clear(&direct);
	evc_cipher_clear(&evp);
	return works;
}

/* Try what EVP gives, then whether it can be had directly. */
static evc_code
test_and_choose(evc_err *err)
{
	evc_cipher	gcm = {NULL, NULL, NULL};
	bool		passed = make_evp(&gcm, EVC_GCM) && evc_selftest_gcm(&gcm);

	evc_cipher_clear(&gcm);
	state.direct = passed;
	for (int mode = 0; mode < EVC_MODES && state.direct; mode++)
		state.direct = direct_works((evc_mode) mode);
	ERR_clear_error();
	if (!passed)
		return evc_fail(err, EVC_CRYPTO, "AES-256-GCM of this OpenSSL fails its self-test");
	return EVC_OK;
}

evc_code
evc_cipher_prepare(evc_err *err)
{
	pid_t		pid = evc_pid();
	evc_code	code = EVC_OK;

	if (state.pid == pid)
		return EVC_OK;

	memset(state.fetched, 0, sizeof(state.fetched));
	for (int mode = 0; mode < EVC_MODES && code == EVC_OK; mode++)
	{
		state.fetched[mode] = EVP_CIPHER_fetch(NULL, names[mode], NULL);
		if (state.fetched[mode] == NULL)
			code = evc_crypto_fail(err, "to provide AES-256");
	}
	if (code == EVC_OK)
		code = test_and_choose(err);
	if (code == EVC_OK)
		state.pid = pid;
	for (int mode = 0; mode < EVC_MODES && code != EVC_OK; mode++)
		EVP_CIPHER_free(state.fetched[mode]);
	return code;
}
