/*
 * local.c
 *	  Wrapping and opening secrets under a root key of the local key file.
 *
 *	01 | root version id (8) | SIV (16) | ciphertext of the payload (44)
 *
 * AES-256-SIV with one associated datum, the binding B of wrap.h.  It is
 * deterministic: the same secret under the same root key version and binding
 * gives the same wrap, which shows nothing, as the payload holds the secret.
 */
#include "kms/local.h"

#include <string.h>

#include "core/codec.h"
#include "core/kdf.h"
#include "core/siv.h"
#include "kms/keyfile.h"

#define WRAP_FORM	0x01
#define AT_ID		1
#define AT_SIV		(AT_ID + EVC_ROOT_ID_BYTES)
#define AT_BODY		(AT_SIV + EVC_SIV_BYTES)

#define LABEL_WRAP	"envcrypt/local/v1/wrap"
#define LABEL_CHECK	"envcrypt/local/v1/check"
#define LABEL_MAX	24

_Static_assert(AT_BODY + EVC_PAYLOAD_BYTES == EVC_LOCAL_WRAP_BYTES,
			   "a local wrap has 69 bytes");

/* HKDF-Expand-SHA-256(secret, label | id, len) */
static evc_code
derive(const evc_root_version *v, const char *label, uint8_t *out, size_t len,
	   evc_err *err)
{
	uint8_t		info[LABEL_MAX + EVC_ROOT_ID_BYTES];
	size_t		n = strlen(label);

	memcpy(info, label, n);
	memcpy(info + n, v->id, EVC_ROOT_ID_BYTES);
	return evc_hkdf_expand(&v->secret, info, n + EVC_ROOT_ID_BYTES, out, len, err);
}

evc_code
evc_root_wrap_keys(const evc_root_version *v, evc_key keys[2], evc_err *err)
{
	return derive(v, LABEL_WRAP, keys[0].b, 2 * EVC_KEY_BYTES, err);
}

evc_code
evc_root_check(const evc_root_version *v, uint8_t *check, evc_err *err)
{
	uint8_t		full[EVC_KEY_BYTES];
	evc_code	code = derive(v, LABEL_CHECK, full, sizeof(full), err);

	if (code == EVC_OK)
		memcpy(check, full, EVC_ROOT_CHECK_BYTES);
	evc_wipe(full, sizeof(full));
	return code;
}

static evc_code
find_root_key(const evc_keyfile *kf, const char *name, const evc_root_key **key,
			  evc_err *err)
{
	*key = evc_keyfile_find(kf, name);
	if (*key == NULL)
		return evc_fail(err, EVC_NO_ROOT_KEY,
						"the key file has no root key \"local:%.128s\"", name);
	return EVC_OK;
}

static evc_code
find_version(const evc_keyfile *kf, const char *name, const uint8_t *id,
			 const evc_root_version **v, evc_err *err)
{
	char		hex[2 * EVC_ROOT_ID_BYTES + 1] = "";
	const evc_root_key *key;
	evc_code	code = find_root_key(kf, name, &key, err);

	if (code != EVC_OK)
		return code;
	evc_hex_encode(id, EVC_ROOT_ID_BYTES, hex);
	*v = evc_root_key_version(key, id);
	if (*v == NULL)
		return evc_fail(err, EVC_NO_ROOT_KEY,
						"root key \"local:%.128s\" has no version %s in the key file",
						name, hex);
	if (!(*v)->enabled)
		return evc_fail(err, EVC_ROOT_KEY_DISABLED,
						"version %s of root key \"local:%.128s\" is disabled in the key file",
						hex, name);
	return EVC_OK;
}

static evc_code
siv_of(const evc_root_version *v, evc_siv *siv, evc_err *err)
{
	evc_key		keys[2];
	evc_code	code = evc_root_wrap_keys(v, keys, err);

	if (code == EVC_OK)
		code = evc_siv_init(siv, keys, err);
	evc_wipe(keys, sizeof(keys));
	return code;
}

evc_code
evc_local_wrap(const evc_keyfile *kf, const char *name, const evc_binding *b,
			   const evc_key *secret, uint8_t *out, evc_err *err)
{
	uint8_t		binding[EVC_BINDING_MAX];
	uint8_t		payload[EVC_PAYLOAD_BYTES];
	evc_bytes	ad[2] = {{binding, 0}, {NULL, 0}};
	const evc_root_key *key;
	const evc_root_version *v;
	evc_siv		siv;
	evc_code	code;

	code = find_root_key(kf, name, &key, err);
	if (code != EVC_OK)
		return code;
	v = &key->versions[key->primary];
	code = siv_of(v, &siv, err);
	if (code != EVC_OK)
		return code;

	ad[0].len = evc_binding_bytes(b, binding);
	evc_payload_write(b, secret, payload);
	out[0] = WRAP_FORM;
	memcpy(out + AT_ID, v->id, EVC_ROOT_ID_BYTES);
	code = evc_siv_seal(&siv, ad, payload, sizeof(payload), out + AT_SIV,
						out + AT_BODY, err);

	evc_wipe(payload, sizeof(payload));
	evc_siv_clear(&siv);
	return code;
}

evc_code
evc_local_unwrap(const evc_keyfile *kf, const char *name, const evc_binding *b,
				 const uint8_t *wrap, size_t len, evc_key *secret, evc_err *err)
{
	uint8_t		binding[EVC_BINDING_MAX];
	uint8_t		payload[EVC_PAYLOAD_BYTES];
	evc_bytes	ad[2] = {{binding, 0}, {NULL, 0}};
	const evc_root_version *v;
	evc_siv		siv;
	evc_code	code;

	if (len != EVC_LOCAL_WRAP_BYTES || wrap[0] != WRAP_FORM)
		return evc_fail(err, EVC_BAD_WRAP, "not a wrap made by a local root key");
	code = find_version(kf, name, wrap + AT_ID, &v, err);
	if (code == EVC_OK)
		code = siv_of(v, &siv, err);
	if (code != EVC_OK)
		return code;

	ad[0].len = evc_binding_bytes(b, binding);
	code = evc_siv_open(&siv, ad, wrap + AT_SIV, wrap + AT_BODY, sizeof(payload),
						payload, err);
	if (code == EVC_AUTH_FAILED)
		code = evc_fail(err, EVC_BAD_WRAP,
						"the wrap is damaged or belongs to another key version");
	if (code == EVC_OK)
		code = evc_payload_read(b, payload, sizeof(payload), secret, err);

	evc_wipe(payload, sizeof(payload));
	evc_siv_clear(&siv);
	return code;
}

const char *
evc_local_name(const char *root_key)
{
	static const char prefix[] = "local:";

	if (strncmp(root_key, prefix, strlen(prefix)) != 0)
		return NULL;
	return root_key + strlen(prefix);
}

evc_code
evc_local_secret(const evc_keyfile *kf, const char *root_key, const evc_binding *b,
				 const uint8_t *wrap, size_t len, const uint8_t *commitment,
				 evc_key *secret, evc_err *err)
{
	const char *name = evc_local_name(root_key);
	uint8_t		found[EVC_COMMITMENT_BYTES];
	evc_code	code;

	if (name == NULL)
		return evc_fail(err, EVC_NO_ROOT_KEY, "this release reaches no endpoint but \"local\"");
	code = evc_local_unwrap(kf, name, b, wrap, len, secret, err);
	if (code != EVC_OK)
		return code;
	code = evc_commitment(b->algorithm, b->kvid, secret, found, err);
	if (code == EVC_OK && !evc_equal(found, commitment, sizeof(found)))
		code = evc_fail(err, EVC_BAD_COMMITMENT, "the secret does not fit the version's commitment");
	if (code != EVC_OK)
		evc_wipe(secret, sizeof(*secret));
	return code;
}
