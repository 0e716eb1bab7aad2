/*
 * xaes.c
 *	  XAES-256-GCM subkeys, and the process-wide table of contexts keyed with
 *	  them.
 *
 * The table is searched front to back: 64 names of 24 bytes are 24 cache
 * lines in a row, and going through all of them costs a tenth of a miss.  A
 * hash would have to be kept in step with the slots to save part of that, and
 * only where writers are many.
 */
#include "core/xaes.h"

#include <string.h>

#include "core/gcm.h"

#define SLOTS			64
#define PREFIX_BYTES	12		/* of the nonce; the rest is the GCM IV */

/* What a subkey depends on; id 0 is nobody's. */
typedef struct subkey_name
{
	uint64_t	id;
	uint8_t		prefix[PREFIX_BYTES];
	uint8_t		zero[4];		/* no padding: names are compared as bytes */
} subkey_name;

static struct
{
	pid_t		pid;
	uint64_t	last_id;		/* last one given to a version */
	size_t		recent;			/* slot of the last call */
	uint64_t	clock;
	subkey_name name[SLOTS];
	uint64_t	used[SLOTS];	/* clock at the last change to this slot */
	evc_cipher	gcm[SLOTS];
}			table;

/*
 * Forget what a parent process left.  Its contexts are not freed here: they
 * belong to it.  Ids go on, so that a version made before the fork keeps its.
 */
static void
enter_process(void)
{
	pid_t		pid = evc_pid();

	if (table.pid == pid)
		return;
	memset(table.name, 0, sizeof(table.name));
	memset(table.used, 0, sizeof(table.used));
	memset(table.gcm, 0, sizeof(table.gcm));
	table.pid = pid;
}

evc_code
evc_xaes_init(evc_xaes *x, const evc_key *key, evc_err *err)
{
	static const uint8_t zero[EVC_BLOCK_BYTES];
	evc_code	code;

	memset(x, 0, sizeof(*x));
	if ((code = evc_cipher_key(&x->block, EVC_ECB, key->b, err)) != EVC_OK)
		return code;

	if (!evc_cipher_update(&x->block, zero, sizeof(zero), x->k1))
	{
		evc_xaes_clear(x);
		return evc_crypto_fail(err, "AES-256");
	}
	evc_block_double(x->k1);
	x->id = ++table.last_id;
	return EVC_OK;
}

void
evc_xaes_clear(evc_xaes *x)
{
	enter_process();
	for (size_t i = 0; i < SLOTS && x->id != 0; i++)
	{
		if (table.name[i].id != x->id)
			continue;
		evc_cipher_clear(&table.gcm[i]);
		table.used[i] = 0;
		memset(&table.name[i], 0, sizeof(table.name[i]));
	}
	evc_cipher_clear(&x->block);
	evc_wipe(x, sizeof(*x));
}

/* Kx = AES(M1 xor K1) | AES(M2 xor K1), Mi = 00 0i 58 00 | prefix. */
static evc_code
derive_subkey(evc_xaes *x, const uint8_t *prefix, evc_key *subkey, evc_err *err)
{
	uint8_t		m[2 * EVC_BLOCK_BYTES] = {0};

	for (uint8_t i = 0; i < 2; i++)
	{
		uint8_t    *block = m + i * EVC_BLOCK_BYTES;

		block[1] = i + 1;
		block[2] = 'X';
		memcpy(block + 4, prefix, PREFIX_BYTES);
		for (int j = 0; j < EVC_BLOCK_BYTES; j++)
			block[j] ^= x->k1[j];
	}
	if (!evc_cipher_update(&x->block, m, sizeof(m), subkey->b))
		return evc_crypto_fail(err, "AES-256");
	return EVC_OK;
}

/* Key slot i for name.  Until that has worked the slot is nobody's. */
static evc_code
fill_slot(size_t i, evc_xaes *x, const subkey_name *name, evc_err *err)
{
	evc_key		subkey = {{0}};
	evc_code	code = derive_subkey(x, name->prefix, &subkey, err);

	if (code == EVC_OK)
	{
		table.name[i].id = 0;
		code = evc_cipher_key(&table.gcm[i], EVC_GCM, subkey.b, err);
	}
	if (code == EVC_OK)
		table.name[i] = *name;
	evc_wipe(&subkey, sizeof(subkey));
	return code;
}

/* The slot of that name, or SLOTS. */
static size_t
find_slot(const subkey_name *name)
{
	size_t		i = 0;

	while (i < SLOTS && memcmp(&table.name[i], name, sizeof(*name)) != 0)
		i++;
	return i;
}

/* The slot used longest ago; one never used is older than all others. */
static size_t
oldest_slot(void)
{
	size_t		oldest = 0;

	for (size_t i = 1; i < SLOTS; i++)
	{
		if (table.used[i] < table.used[oldest])
			oldest = i;
	}
	return oldest;
}

/* A context keyed for this version and nonce; NULL with err filled. */
static evc_cipher *
subkey_gcm(evc_xaes *x, const uint8_t *nonce, evc_err *err)
{
	subkey_name name = {x->id, {0}, {0}};
	size_t		i;

	memcpy(name.prefix, nonce, PREFIX_BYTES);
	enter_process();
	i = table.recent;
	if (memcmp(&table.name[i], &name, sizeof(name)) == 0)
		return &table.gcm[i];

	if ((i = find_slot(&name)) == SLOTS)
	{
		i = oldest_slot();
		if (fill_slot(i, x, &name, err) != EVC_OK)
			return NULL;
	}

	/* Not needed while one slot is used on end: its stamp stays the newest. */
	table.used[i] = ++table.clock;
	table.recent = i;
	return &table.gcm[i];
}

evc_code
evc_xaes_seal(evc_xaes *x, const uint8_t *nonce, const evc_bytes ad[2],
			  const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag, evc_err *err)
{
	evc_cipher *gcm = subkey_gcm(x, nonce, err);

	if (gcm == NULL)
		return EVC_CRYPTO;
	return evc_gcm_seal(gcm, nonce + PREFIX_BYTES, ad, in, len, out, tag, err);
}

evc_code
evc_xaes_open(evc_xaes *x, const uint8_t *nonce, const evc_bytes ad[2],
			  const uint8_t *in, size_t len, const uint8_t *tag, uint8_t *out,
			  evc_err *err)
{
	evc_cipher *gcm = subkey_gcm(x, nonce, err);

	if (gcm == NULL)
		return EVC_CRYPTO;
	return evc_gcm_open(gcm, nonce + PREFIX_BYTES, ad, in, len, tag, out, err);
}
