/*
 * keyfile.c
 *	  The local key file: reading, checking and writing its text.
 *
 *	{"format":"envcrypt-local-keys","version":1,"protection":"none",
 *	 "keys":{NAME:{"primary":ID,
 *	   "versions":{ID:{"algorithm":"aes-256-siv","created":TIME,
 *		 "secret":64 hex,"check":16 hex,"state":"enabled"|"disabled"}}}}}
 *
 * What is not known here is refused, not skipped: a later release may add a
 * member that changes what a secret means.  The file is all or nothing; one
 * bad version refuses the whole, so that damage is found when the file is
 * changed and not when the version is needed.  Secrets live in arrays of the
 * evc_keyfile, never move without a wipe, and appear in no message.
 */
#include "kms/keyfile.h"

#include <stdlib.h>
#include <string.h>

#include "core/codec.h"
#include "core/registry.h"
#include "kms/json.h"

#define FORMAT		"envcrypt-local-keys"
#define VERSION		1
#define PROTECTION	"none"
#define ALGORITHM	"aes-256-siv"
#define ENABLED		"enabled"
#define DISABLED	"disabled"

static const evc_json_limits limits = {EVC_KEYFILE_MAX, 8};

const evc_root_key *
evc_keyfile_find(const evc_keyfile *kf, const char *name)
{
	for (size_t i = 0; i < kf->nkeys; i++)
	{
		if (strcmp(kf->keys[i].name, name) == 0)
			return &kf->keys[i];
	}
	return NULL;
}

const evc_root_version *
evc_root_key_version(const evc_root_key *key, const uint8_t *id)
{
	for (size_t i = 0; i < key->nversions; i++)
	{
		if (memcmp(key->versions[i].id, id, EVC_ROOT_ID_BYTES) == 0)
			return &key->versions[i];
	}
	return NULL;
}

static void
wipe_free(void *p, size_t len)
{
	if (p != NULL)
		evc_wipe(p, len);
	free(p);
}

evc_code
evc_keyfile_new(evc_keyfile **kf, evc_err *err)
{
	*kf = calloc(1, sizeof(**kf));
	if (*kf == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	return EVC_OK;
}

void
evc_keyfile_free(evc_keyfile *kf)
{
	if (kf == NULL)
		return;
	for (size_t i = 0; i < kf->nkeys; i++)
		wipe_free(kf->keys[i].versions,
				  kf->keys[i].nversions * sizeof(evc_root_version));
	wipe_free(kf->keys, kf->nkeys * sizeof(evc_root_key));
	wipe_free(kf, sizeof(*kf));
}

/* ----- reading ----- */

/*
 * Exactly len bytes in lower-case hex: one secret, one spelling.  Writing what
 * was read again tells lower case in a time that shows nothing of a secret.
 */
static bool
read_hex(const char *text, uint8_t *out, size_t len)
{
	char		again[2 * EVC_KEY_BYTES];
	size_t		n;
	bool		same;

	if (strlen(text) != 2 * len ||
		evc_hex_decode(text, 2 * len, out, len, &n, NULL) != EVC_OK)
		return false;
	evc_hex_encode(out, len, again);
	same = evc_equal(text, again, 2 * len);
	evc_wipe(again, sizeof(again));
	return same;
}

static bool
is_created(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
	size_t		i = 0;

	while (form[i] != '\0' &&
		   (form[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i]))
		i++;
	return form[i] == '\0' && text[i] == '\0';
}

static bool
is_text(const evc_json *value, const char *expected)
{
	return strcmp(evc_json_string(value), expected) == 0;
}

static evc_code
verify_check(const evc_root_version *v, const evc_json *value, const char *what,
			 evc_err *err)
{
	uint8_t		given[EVC_ROOT_CHECK_BYTES];
	uint8_t		check[EVC_ROOT_CHECK_BYTES];
	evc_code	code;

	if (!read_hex(evc_json_string(value), given, sizeof(given)))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"check\" of %s is not 16 lower-case hex digits", what);
	code = evc_root_check(v, check, err);
	if (code == EVC_OK && !evc_equal(given, check, sizeof(check)))
		return evc_fail(err, EVC_FILE_FORMAT,
						"the secret of %s does not match its check value: restore the file from its copy",
						what);
	return code;
}

static evc_code
read_version(evc_root_version *v, const evc_json *value, const char *what,
			 evc_err *err)
{
	enum
	{
		ALG, CREATED, SECRET, CHECK, STATE, NFIELDS
	};
	static const evc_json_field fields[NFIELDS] = {
		[ALG] = {"algorithm", EVC_JSON_STRING, true},
		[CREATED] = {"created", EVC_JSON_STRING, true},
		[SECRET] = {"secret", EVC_JSON_STRING, true},
		[CHECK] = {"check", EVC_JSON_STRING, true},
		[STATE] = {"state", EVC_JSON_STRING, true}
	};
	const evc_json *got[NFIELDS];
	evc_code	code = evc_json_members(value, what, fields, NFIELDS, got, err);

	if (code != EVC_OK)
		return code;
	if (!is_text(got[ALG], ALGORITHM))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"algorithm\" of %s is not one this release knows", what);
	if (!is_created(evc_json_string(got[CREATED])))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"created\" of %s is not of the form YYYY-MM-DDThh:mm:ssZ", what);
	memcpy(v->created, evc_json_string(got[CREATED]), sizeof(v->created));
	v->enabled = is_text(got[STATE], ENABLED);
	if (!v->enabled && !is_text(got[STATE], DISABLED))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"state\" of %s is neither enabled nor disabled", what);
	if (!read_hex(evc_json_string(got[SECRET]), v->secret.b, EVC_KEY_BYTES))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"secret\" of %s is not 64 lower-case hex digits", what);
	return verify_check(v, got[CHECK], what, err);
}

static evc_code
visit_version(const char *name, const evc_json *value, void *arg, evc_err *err)
{
	evc_root_key *key = arg;
	evc_root_version *v = &key->versions[key->nversions];
	char		what[64];

	if (!read_hex(name, v->id, sizeof(v->id)))
		return evc_fail(err, EVC_FILE_FORMAT,
						"a root key's version id is not 16 lower-case hex digits");
	strcpy(what, "root key version ");
	strcat(what, name);
	key->nversions++;			/* from here on evc_keyfile_free wipes it */
	return read_version(v, value, what, err);
}

static evc_code
read_primary(evc_root_key *key, const evc_json *value, evc_err *err)
{
	uint8_t		id[EVC_ROOT_ID_BYTES];
	const evc_root_version *v;

	if (!read_hex(evc_json_string(value), id, sizeof(id)))
		return evc_fail(err, EVC_FILE_FORMAT,
						"a root key's \"primary\" is not 16 lower-case hex digits");
	v = evc_root_key_version(key, id);
	if (v == NULL)
		return evc_fail(err, EVC_FILE_FORMAT,
						"primary root key version %s is not among the versions",
						evc_json_string(value));
	if (!v->enabled)
		return evc_fail(err, EVC_FILE_FORMAT,
						"primary root key version %s is disabled",
						evc_json_string(value));
	key->primary = (size_t) (v - key->versions);
	return EVC_OK;
}

static evc_code
visit_key(const char *name, const evc_json *value, void *arg, evc_err *err)
{
	enum
	{
		PRIMARY, VERSIONS, NFIELDS
	};
	static const evc_json_field fields[NFIELDS] = {
		[PRIMARY] = {"primary", EVC_JSON_STRING, true},
		[VERSIONS] = {"versions", EVC_JSON_OBJECT, true}
	};
	const evc_json *got[NFIELDS];
	evc_keyfile *kf = arg;
	evc_root_key *key = &kf->keys[kf->nkeys];
	evc_code	code;

	if (!evc_name_valid(name, strlen(name)))
		return evc_fail(err, EVC_FILE_FORMAT,
						"a root key's name is not 1 to 128 of A-Z a-z 0-9 _ . : @ / -");
	code = evc_json_members(value, "a root key", fields, NFIELDS, got, err);
	if (code != EVC_OK)
		return code;
	key->versions = calloc(evc_json_size(got[VERSIONS]) + 1, sizeof(*key->versions));
	if (key->versions == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	strcpy(key->name, name);
	kf->nkeys++;
	code = evc_json_each(got[VERSIONS], visit_version, key, err);
	return code == EVC_OK ? read_primary(key, got[PRIMARY], err) : code;
}

static evc_code
read_document(const evc_json *value, void *arg, evc_err *err)
{
	enum
	{
		FORMAT_NAME, FORMAT_VERSION, PROTECTED_BY, KEYS, NFIELDS
	};
	static const evc_json_field fields[NFIELDS] = {
		[FORMAT_NAME] = {"format", EVC_JSON_STRING, true},
		[FORMAT_VERSION] = {"version", EVC_JSON_INTEGER, true},
		[PROTECTED_BY] = {"protection", EVC_JSON_STRING, true},
		[KEYS] = {"keys", EVC_JSON_OBJECT, true}
	};
	const evc_json *got[NFIELDS];
	evc_keyfile *kf = arg;
	evc_code	code = evc_json_members(value, "the key file", fields, NFIELDS, got, err);

	if (code != EVC_OK)
		return code;
	if (!is_text(got[FORMAT_NAME], FORMAT))
		return evc_fail(err, EVC_FILE_FORMAT, "\"format\" is not " FORMAT);
	if (evc_json_integer(got[FORMAT_VERSION]) != VERSION)
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"version\" of the format is not %d, the one this release knows",
						VERSION);
	if (!is_text(got[PROTECTED_BY], PROTECTION))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"protection\" is not " PROTECTION ", the one this release knows");
	kf->keys = calloc(evc_json_size(got[KEYS]) + 1, sizeof(*kf->keys));
	if (kf->keys == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	return evc_json_each(got[KEYS], visit_key, kf, err);
}

evc_code
evc_keyfile_parse(const char *text, size_t len, evc_keyfile **kf, evc_err *err)
{
	evc_code	code;

	code = evc_keyfile_new(kf, err);
	if (code == EVC_OK)
		code = evc_json_read(text, len, &limits, read_document, *kf, err);
	if (code != EVC_OK)
	{
		evc_keyfile_free(*kf);
		*kf = NULL;
	}
	return code;
}

evc_code
evc_keyfile_open(const char *path, const evc_file_rule *rule, evc_keyfile **kf,
				 evc_err *err)
{
	evc_secret_text text;
	evc_err		why = EVC_ERR_INIT;
	evc_code	code;

	*kf = NULL;
	code = evc_securefile_read(path, rule, EVC_KEYFILE_MAX, &text, &why);
	if (code == EVC_FILE_MISSING)
		return evc_fail_errno(err, code, why.sys_errno,
							  "key file %s%s does not exist",
							  EVC_PATH_SHOWN(path));
	if (code != EVC_OK)
		return evc_fail_errno(err, code, why.sys_errno, "%s", why.msg);
	code = evc_keyfile_parse(text.data, text.len, kf, &why);
	evc_secret_text_free(&text);
	if (code != EVC_OK)
		return evc_fail(err, code, "key file %s%s: %s", EVC_PATH_SHOWN(path), why.msg);
	return EVC_OK;
}

/* ----- writing ----- */

/* Fresh random bytes for id and secret. */
static evc_code
fill_version(evc_root_version *v, time_t now, evc_err *err)
{
	struct tm	tm;
	evc_code	code;

	if (gmtime_r(&now, &tm) == NULL ||
		strftime(v->created, sizeof(v->created), "%Y-%m-%dT%H:%M:%SZ", &tm) !=
		EVC_ROOT_CREATED_BYTES)
		return evc_fail(err, EVC_BAD_ARG, "the clock shows no year of four digits");
	v->enabled = true;
	code = evc_random(v->id, sizeof(v->id), err);
	return code == EVC_OK ? evc_random(v->secret.b, EVC_KEY_BYTES, err) : code;
}

/* Room for one more root key; the versions' arrays change their owner. */
static bool
grow_keys(evc_keyfile *kf)
{
	evc_root_key *grown = calloc(kf->nkeys + 1, sizeof(*grown));

	if (grown == NULL)
		return false;
	if (kf->nkeys > 0)
		memcpy(grown, kf->keys, kf->nkeys * sizeof(*grown));
	wipe_free(kf->keys, kf->nkeys * sizeof(*grown));
	kf->keys = grown;
	return true;
}

evc_code
evc_keyfile_add(evc_keyfile *kf, const char *name, time_t now, evc_err *err)
{
	evc_root_key *key;

	if (!evc_name_valid(name, strlen(name)))
		return evc_fail(err, EVC_BAD_ARG,
						"a root key's name is 1 to 128 of A-Z a-z 0-9 _ . : @ / -");
	if (evc_keyfile_find(kf, name) != NULL)
		return evc_fail(err, EVC_BAD_ARG,
						"the key file already has a root key of that name");
	if (!grow_keys(kf))
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	key = &kf->keys[kf->nkeys];
	key->versions = calloc(1, sizeof(*key->versions));
	if (key->versions == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	strcpy(key->name, name);
	key->nversions = 1;
	kf->nkeys++;
	return fill_version(&key->versions[0], now, err);
}

/* Append; the caller has made room. */
static void
put(evc_secret_text *text, const char *s)
{
	size_t		len = strlen(s);

	memcpy(text->data + text->len, s, len);
	text->len += len;
}

static void
put_hex(evc_secret_text *text, const uint8_t *bytes, size_t len)
{
	evc_hex_encode(bytes, len, text->data + text->len);
	text->len += 2 * len;
}

/* No value needs escaping: hex, times, and names by evc_name_valid. */
static evc_code
put_version(evc_secret_text *text, const evc_root_version *v, evc_err *err)
{
	uint8_t		check[EVC_ROOT_CHECK_BYTES];
	evc_code	code = evc_root_check(v, check, err);

	if (code != EVC_OK)
		return code;
	put(text, "\n   \"");
	put_hex(text, v->id, EVC_ROOT_ID_BYTES);
	put(text, "\":{\"algorithm\":\"" ALGORITHM "\",\"created\":\"");
	put(text, v->created);
	put(text, "\",\"secret\":\"");
	put_hex(text, v->secret.b, EVC_KEY_BYTES);
	put(text, "\",\"check\":\"");
	put_hex(text, check, sizeof(check));
	put(text, "\",\"state\":\"");
	put(text, v->enabled ? ENABLED : DISABLED);
	put(text, "\"}");
	return EVC_OK;
}

static evc_code
put_key(evc_secret_text *text, const evc_root_key *key, evc_err *err)
{
	put(text, "\n  \"");
	put(text, key->name);
	put(text, "\":{\"primary\":\"");
	put_hex(text, key->versions[key->primary].id, EVC_ROOT_ID_BYTES);
	put(text, "\",\n   \"versions\":{");
	for (size_t i = 0; i < key->nversions; i++)
	{
		evc_code	code;

		if (i > 0)
			put(text, ",");
		code = put_version(text, &key->versions[i], err);
		if (code != EVC_OK)
			return code;
	}
	put(text, "}}");
	return EVC_OK;
}

/* More than enough room for the text. */
static size_t
serialized_bound(const evc_keyfile *kf)
{
	size_t		bound = 256;

	for (size_t i = 0; i < kf->nkeys; i++)
		bound += 64 + EVC_NAME_MAX + 2 * EVC_ROOT_ID_BYTES +
			kf->keys[i].nversions * 320;
	return bound;
}

evc_code
evc_keyfile_serialize(const evc_keyfile *kf, evc_secret_text *text, evc_err *err)
{
	evc_code	code = EVC_OK;

	text->len = 0;
	text->data = malloc(serialized_bound(kf));
	if (text->data == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	put(text, "{\"format\":\"" FORMAT "\",\"version\":1,\"protection\":\"" PROTECTION "\",\n"
		" \"keys\":{");
	for (size_t i = 0; i < kf->nkeys && code == EVC_OK; i++)
	{
		if (i > 0)
			put(text, ",");
		code = put_key(text, &kf->keys[i], err);
	}
	put(text, "}}\n");
	if (code == EVC_OK && text->len > EVC_KEYFILE_MAX)
		code = evc_fail(err, EVC_TOO_LONG, "the key file would be larger than %d bytes",
						EVC_KEYFILE_MAX);
	if (code != EVC_OK)
		evc_secret_text_free(text);
	return code;
}
