/*
 * t_cipher.c
 *	  Which kind of contexts a process gets, and what happens with a provider whose
 *	  own functions cannot be used.
 *
 * The odd providers are the default one behind a table of ours.  Each has a
 * process to itself, because the choice is made once per process.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/core_dispatch.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

#include "core/gcm.h"
#include "tap.h"

enum contexts
{
	NONE, EVP, DIRECT
};

static const uint8_t key[32] = {1};
static const uint8_t iv[12] = {2};
static const evc_bytes ad[2] = {{key, 3}, {NULL, 0}};

/* Seal, refuse a forgery, open; g stays as it was found. */
static bool
usable(evc_cipher *g)
{
	static const uint8_t text[5] = "text";
	uint8_t		out[5];
	uint8_t		tag[16];

	if (evc_gcm_seal(g, iv, ad, text, sizeof(text), out, tag, NULL) != EVC_OK)
		return false;
	for (int bit = 0; bit < 128; bit++)
	{
		uint8_t		back[5] = {1, 1, 1, 1, 1};

		tag[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (evc_gcm_open(g, iv, ad, out, sizeof(out), tag, back, NULL) != EVC_AUTH_FAILED ||
			memcmp(back, "\0\0\0\0", 5) != 0)
			return false;
		tag[bit / 8] ^= (uint8_t) (1 << bit % 8);
	}
	return evc_gcm_open(g, iv, ad, out, sizeof(out), tag, out, NULL) == EVC_OK &&
		memcmp(out, text, sizeof(out)) == 0;
}

/* What a new context turns out to be. */
static enum contexts
contexts_given(void)
{
	evc_cipher	g = {NULL, NULL, NULL};
	enum contexts given = NONE;

	if (evc_cipher_key(&g, EVC_GCM, key, NULL) == EVC_OK && usable(&g))
		given = g.direct != NULL ? DIRECT : EVP;
	evc_cipher_clear(&g);
	return given;
}

/* ---- providers like the default one but for something */
static const OSSL_ALGORITHM *real;
static OSSL_FUNC_cipher_final_fn *real_final;
static OSSL_DISPATCH changed[32];
static OSSL_ALGORITHM table[3];
static int	table_no_cache;

static const OSSL_ALGORITHM *
odd_query(void *ctx, int operation, int *no_cache)
{
	*no_cache = table_no_cache;
	return operation == OSSL_OP_CIPHER ? table : NULL;
}

static int
odd_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
		 const OSSL_DISPATCH **out, void **ctx)
{
	static const OSSL_DISPATCH functions[] = {
		{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*) (void)) odd_query},
		{0, NULL}
	};

	*out = functions;
	return 1;
}

/* EVP gives no room here, envcrypt does. */
static int
final_without_room(void *ctx, unsigned char *out, size_t *len, size_t size)
{
	return size == 0 && real_final(ctx, out, len, size);
}

static int
final_trusting(void *ctx, unsigned char *out, size_t *len, size_t size)
{
	(void) real_final(ctx, out, len, size);
	*len = 0;
	return 1;
}

static void
replace(int id, void (*function) (void))
{
	for (size_t i = 0; changed[i].function_id != 0; i++)
	{
		if (changed[i].function_id == id)
			changed[i].function = function;
	}
}

/* Make the table one entry, the default provider's, with its functions copied. */
static void
plain(void)
{
	size_t		n = 0;

	for (const OSSL_DISPATCH *f = real->implementation; f->function_id != 0 && n < 31; f++)
	{
		if (f->function_id == OSSL_FUNC_CIPHER_FINAL)
			real_final = OSSL_FUNC_cipher_final(f);
		changed[n++] = *f;
	}
	table[0] = (OSSL_ALGORITHM) {"other:aes-256-gcm", "provider=odd", changed, NULL};
}

static void
uncacheable(void)
{
	table_no_cache = 1;
}

static void
two_of_the_name(void)
{
	table[1] = table[0];
	table[1].property_definition = "provider=odd,hardware=yes";
}

static void
part_of_a_name(void)
{
	table[1] = (OSSL_ALGORITHM) {"AES-256-GCM-SIV:XAES-256-GCM", "provider=odd", changed, NULL};
}

static void
needing_evp(void)
{
	replace(OSSL_FUNC_CIPHER_FINAL, (void (*) (void)) final_without_room);
}

static void
trusting(void)
{
	replace(OSSL_FUNC_CIPHER_FINAL, (void (*) (void)) final_trusting);
}

static void
test_provider(const char *name, void (*change) (void), enum contexts expected)
{
	pid_t		pid;
	int			status = -1;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
	{
		plain();
		if (change != NULL)
			change();
		_exit(OSSL_PROVIDER_add_builtin(NULL, "odd", odd_init) == 1 &&
			  OSSL_PROVIDER_load(NULL, "odd") != NULL &&
			  EVP_set_default_properties(NULL, "?provider=odd") == 1 ?
			  (int) contexts_given() : 99);
	}
	(void) waitpid(pid, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == (int) expected, "%s", name);
}

/* Find the default provider's AES-256-GCM. */
static bool
find_real(void)
{
	OSSL_PROVIDER *p = OSSL_PROVIDER_load(NULL, "default");
	int			no_cache;

	real = p == NULL ? NULL : OSSL_PROVIDER_query_operation(p, OSSL_OP_CIPHER, &no_cache);
	while (real != NULL && real->algorithm_names != NULL &&
		   strncmp(real->algorithm_names, "AES-256-GCM:", 12) != 0)
		real++;
	return real != NULL && real->algorithm_names != NULL;
}

static void
test_switch(void)
{
	evc_cipher	before = {NULL, NULL, NULL};

	ok(evc_cipher_key(&before, EVC_GCM, key, NULL) == EVC_OK && before.direct != NULL && usable(&before),
	   "the provider's context works");
	evc_cipher_force_evp(true);
	ok(contexts_given() == EVP, "forced, a new context is EVP's");
	ok(usable(&before) && evc_cipher_key(&before, EVC_GCM, key, NULL) == EVC_OK && usable(&before),
	   "one made before still works");
	evc_cipher_force_evp(false);
	ok(contexts_given() == DIRECT, "no longer forced, it is the provider's");
	evc_cipher_clear(&before);
}

int
main(void)
{
	if (!find_real())
	{
		skip("contexts", "no default provider");
		return done_testing();
	}
	test_provider("another provider's functions are used", NULL, DIRECT);
	test_provider("a longer name is another name", part_of_a_name, DIRECT);
	test_provider("EVP, where the table must not be kept", uncacheable, EVP);
	test_provider("EVP, where two implementations have the name", two_of_the_name, EVP);
	test_provider("EVP, where the functions do not pass the self-test", needing_evp, EVP);
	test_provider("nothing, where forgeries pass", trusting, NONE);
	test_switch();
	test_provider("a child chooses for itself", needing_evp, EVP);
	return done_testing();
}
