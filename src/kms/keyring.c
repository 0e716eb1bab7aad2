/*
 * keyring.c
 *	  Reading the export of a database's keys.
 *
 *	{"format":"envcrypt-keyring","version":1,"exported_at":TIME,
 *	 "keys":{NAME:{"label":LABEL,"algorithm":ALGORITHM,"enabled":BOOL,
 *	   "root_keys":[ROOT_KEY],"created_at":TIME,
 *	   "versions":{KVID:{"number":1,"state":STATE,"compromised":BOOL,
 *		 "commitment":64 hex,"options":{},"origin":HEX or null,
 *		 "created_at":TIME,"changed_at":TIME,
 *		 "wraps":{ROOT_KEY:{"wrapped":HEX,"verified_at":TIME or null}}}}}}}
 *
 * All or nothing, as the key file: what is not known here is refused.
 */
#include "kms/keyring.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/codec.h"
#include "core/registry.h"
#include "kms/json.h"

#define FORMAT			"envcrypt-keyring"
#define FORMAT_VERSION	1
#define HEX_KVID_BYTES	(2 * EVC_KVID_BYTES)

/* A good export has seven levels, and what options may come to hold. */
static const evc_json_limits limits = {EVC_KEYRING_MAX, 16};

static const char *const states[] = {
	"pending", "primary", "decrypt_only", "disabled", "destroy_scheduled", "destroyed"
};

#define NSTATES (sizeof(states) / sizeof(states[0]))

static void
free_version(evc_keyring_version *v)
{
	for (size_t i = 0; i < v->nwraps; i++)
		free(v->wraps[i].wrapped);
	free(v->wraps);
}

void
evc_keyring_free(evc_keyring *kr)
{
	if (kr == NULL)
		return;
	for (size_t i = 0; i < kr->nkeys; i++)
	{
		for (size_t j = 0; j < kr->keys[i].nversions; j++)
			free_version(&kr->keys[i].versions[j]);
		free(kr->keys[i].versions);
	}
	free(kr->entries);
	free(kr->keys);
	free(kr);
}

static evc_code
no_memory(evc_err *err)
{
	return evc_fail(err, EVC_NO_MEMORY, "out of memory");
}

/* Lower-case hex of exactly len bytes. */
static bool
read_hex(const char *text, uint8_t *out, size_t len)
{
	size_t		n;

	return strlen(text) == 2 * len && strspn(text, "0123456789abcdef") == 2 * len &&
		evc_hex_decode(text, 2 * len, out, len, &n, NULL) == EVC_OK;
}

static bool
is_kvid(const uint8_t *kvid)
{
	size_t		same = 1;

	while (same < EVC_KVID_BYTES && kvid[same] == kvid[0])
		same++;
	return same < EVC_KVID_BYTES || (kvid[0] != 0x00 && kvid[0] != 0xff);
}

/* YYYY-MM-DDThh:mm:ss, a fraction or none, Z; only the form counts. */
static bool
is_time(const char *text)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	size_t		i = 0;

	while (form[i] != '\0' &&
		   (form[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i]))
		i++;
	if (form[i] != '\0')
		return false;
	if (text[i] == '.')
	{
		size_t		digits = strspn(text + i + 1, "0123456789");

		if (digits == 0 || digits > 6)
			return false;
		i += 1 + digits;
	}
	return strcmp(text + i, "Z") == 0;
}

static evc_code
check_time(const evc_json *value, const char *field, const char *what, evc_err *err)
{
	if (value == NULL || is_time(evc_json_string(value)))
		return EVC_OK;
	return evc_fail(err, EVC_FILE_FORMAT,
					"\"%s\" of %s is not of the form YYYY-MM-DDThh:mm:ssZ", field, what);
}

/* ENDPOINT:KEY in printable ASCII. */
static bool
is_root_key(const char *text)
{
	size_t		len = strlen(text);
	const char *colon = strchr(text, ':');

	if (len > EVC_ROOT_KEY_MAX || colon == NULL || colon == text || colon[1] == '\0')
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	}
	return true;
}

static evc_code
visit_root_key(const evc_json *value, void *arg, evc_err *err)
{
	(void) arg;
	if (!is_root_key(evc_json_string(value)))
		return evc_fail(err, EVC_FILE_FORMAT, "a root key is not ENDPOINT:KEY");
	return EVC_OK;
}

static evc_code
read_wrapped(evc_keyring_wrap *w, const evc_json *value, evc_err *err)
{
	const char *hex = evc_json_string(value);
	size_t		len = strlen(hex) / 2;

	if (len == 0 || len > EVC_KEYRING_WRAP_MAX)
		return evc_fail(err, EVC_FILE_FORMAT, "\"wrapped\" has not between 1 and %d bytes",
						EVC_KEYRING_WRAP_MAX);
	w->wrapped = malloc(len);
	if (w->wrapped == NULL)
		return no_memory(err);
	w->len = len;
	if (!read_hex(hex, w->wrapped, len))
		return evc_fail(err, EVC_FILE_FORMAT, "\"wrapped\" is not lower-case hex digits");
	return EVC_OK;
}

static evc_code
visit_wrap(const char *name, const evc_json *value, void *arg, evc_err *err)
{
	enum
	{
		WRAPPED, VERIFIED, NFIELDS
	};
	static const evc_json_field fields[NFIELDS] = {
		[WRAPPED] = {"wrapped", EVC_JSON_STRING, true},
		[VERIFIED] = {"verified_at", EVC_JSON_STRING, false}
	};
	const evc_json *got[NFIELDS];
	evc_keyring_version *v = arg;
	evc_keyring_wrap *w = &v->wraps[v->nwraps];
	evc_code	code;

	if (!is_root_key(name))
		return evc_fail(err, EVC_FILE_FORMAT, "the root key of a wrap is not ENDPOINT:KEY");
	strcpy(w->root_key, name);
	v->nwraps++;				/* from here on free_version frees it */
	code = evc_json_members(value, "a wrap", fields, NFIELDS, got, err);
	if (code == EVC_OK)
		code = check_time(got[VERIFIED], "verified_at", "a wrap", err);
	return code == EVC_OK ? read_wrapped(w, got[WRAPPED], err) : code;
}

static evc_code
read_state(evc_keyring_version *v, const char *state, const char *what, evc_err *err)
{
	for (size_t i = 0; i < NSTATES; i++)
	{
		if (strcmp(state, states[i]) == 0)
		{
			strcpy(v->state, state);
			return EVC_OK;
		}
	}
	return evc_fail(err, EVC_FILE_FORMAT, "\"state\" of %s is not one this release knows", what);
}

enum
{
	V_NUMBER, V_STATE, V_COMPROMISED, V_COMMITMENT, V_OPTIONS, V_ORIGIN, V_CREATED,
	V_CHANGED, V_WRAPS, V_NFIELDS
};

static const evc_json_field version_fields[V_NFIELDS] = {
	[V_NUMBER] = {"number", EVC_JSON_INTEGER, true},
	[V_STATE] = {"state", EVC_JSON_STRING, true},
	[V_COMPROMISED] = {"compromised", EVC_JSON_BOOLEAN, true},
	[V_COMMITMENT] = {"commitment", EVC_JSON_STRING, true},
	[V_OPTIONS] = {"options", EVC_JSON_OBJECT, true},
	[V_ORIGIN] = {"origin", EVC_JSON_STRING, false},
	[V_CREATED] = {"created_at", EVC_JSON_STRING, true},
	[V_CHANGED] = {"changed_at", EVC_JSON_STRING, true},
	[V_WRAPS] = {"wraps", EVC_JSON_OBJECT, true}
};

/* What has no part in opening is looked at all the same: damage shows. */
static evc_code
check_version(const evc_json *const *got, const char *what, evc_err *err)
{
	const char *origin = got[V_ORIGIN] == NULL ? "" : evc_json_string(got[V_ORIGIN]);
	evc_code	code;

	if (strlen(origin) % 2 != 0 || strspn(origin, "0123456789abcdef") != strlen(origin))
		return evc_fail(err, EVC_FILE_FORMAT, "\"origin\" of %s is not lower-case hex digits", what);
	code = check_time(got[V_CREATED], "created_at", what, err);
	return code == EVC_OK ? check_time(got[V_CHANGED], "changed_at", what, err) : code;
}

static evc_code
read_version(evc_keyring_version *v, const evc_json *value, const char *what, evc_err *err)
{
	const evc_json *got[V_NFIELDS];
	evc_code	code = evc_json_members(value, what, version_fields, V_NFIELDS, got, err);

	if (code != EVC_OK || (code = check_version(got, what, err)) != EVC_OK)
		return code;
	if (evc_json_integer(got[V_NUMBER]) < 1 || evc_json_integer(got[V_NUMBER]) > INT_MAX)
		return evc_fail(err, EVC_FILE_FORMAT, "\"number\" of %s is out of range", what);
	v->number = (int) evc_json_integer(got[V_NUMBER]);
	if (!read_hex(evc_json_string(got[V_COMMITMENT]), v->commitment, EVC_COMMITMENT_BYTES))
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"commitment\" of %s is not 64 lower-case hex digits", what);
	code = read_state(v, evc_json_string(got[V_STATE]), what, err);
	if (code != EVC_OK)
		return code;
	v->wraps = calloc(evc_json_size(got[V_WRAPS]) + 1, sizeof(*v->wraps));
	if (v->wraps == NULL)
		return no_memory(err);
	return evc_json_each(got[V_WRAPS], visit_wrap, v, err);
}

static evc_code
visit_version(const char *name, const evc_json *value, void *arg, evc_err *err)
{
	evc_keyring_key *key = arg;
	evc_keyring_version *v = &key->versions[key->nversions];
	char		what[16 + HEX_KVID_BYTES];

	if (!read_hex(name, v->kvid, EVC_KVID_BYTES) || !is_kvid(v->kvid))
		return evc_fail(err, EVC_FILE_FORMAT,
						"a version of key \"%s\" is not named by a kvid of 16 lower-case hex digits",
						key->name);
	snprintf(what, sizeof(what), "version %s", name);
	key->nversions++;
	return read_version(v, value, what, err);
}

enum
{
	K_LABEL, K_ALGORITHM, K_ENABLED, K_ROOT_KEYS, K_CREATED, K_VERSIONS, K_NFIELDS
};

static const evc_json_field key_fields[K_NFIELDS] = {
	[K_LABEL] = {"label", EVC_JSON_STRING, true},
	[K_ALGORITHM] = {"algorithm", EVC_JSON_STRING, true},
	[K_ENABLED] = {"enabled", EVC_JSON_BOOLEAN, true},
	[K_ROOT_KEYS] = {"root_keys", EVC_JSON_ARRAY, true},
	[K_CREATED] = {"created_at", EVC_JSON_STRING, true},
	[K_VERSIONS] = {"versions", EVC_JSON_OBJECT, true}
};

static evc_code
read_key(evc_keyring_key *key, const evc_json *const *got, evc_err *err)
{
	const char *label = evc_json_string(got[K_LABEL]);
	evc_code	code;

	if (!evc_name_valid(label, strlen(label)))
		return evc_fail(err, EVC_FILE_FORMAT, "\"label\" of key \"%s\" is not a label", key->name);
	strcpy(key->label, label);
	key->algorithm = evc_algorithm_by_name(evc_json_string(got[K_ALGORITHM]));
	if (key->algorithm == 0)
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"algorithm\" of key \"%s\" is not one this release knows", key->name);
	code = check_time(got[K_CREATED], "created_at", "a key", err);
	if (code == EVC_OK)
		code = evc_json_elements(got[K_ROOT_KEYS], "\"root_keys\"", EVC_JSON_STRING,
								 visit_root_key, NULL, err);
	if (code != EVC_OK)
		return code;
	key->versions = calloc(evc_json_size(got[K_VERSIONS]) + 1, sizeof(*key->versions));
	if (key->versions == NULL)
		return no_memory(err);
	return evc_json_each(got[K_VERSIONS], visit_version, key, err);
}

static evc_code
visit_key(const char *name, const evc_json *value, void *arg, evc_err *err)
{
	const evc_json *got[K_NFIELDS];
	evc_keyring *kr = arg;
	evc_keyring_key *key = &kr->keys[kr->nkeys];
	evc_code	code;

	if (!evc_name_valid(name, strlen(name)))
		return evc_fail(err, EVC_FILE_FORMAT,
						"a key's name is not 1 to 128 of A-Z a-z 0-9 _ . : @ / -");
	strcpy(key->name, name);
	kr->nkeys++;
	code = evc_json_members(value, "a key", key_fields, K_NFIELDS, got, err);
	return code == EVC_OK ? read_key(key, got, err) : code;
}

static evc_code
read_document(const evc_json *value, void *arg, evc_err *err)
{
	enum
	{
		D_FORMAT, D_VERSION, D_EXPORTED, D_KEYS, D_NFIELDS
	};
	static const evc_json_field fields[D_NFIELDS] = {
		[D_FORMAT] = {"format", EVC_JSON_STRING, true},
		[D_VERSION] = {"version", EVC_JSON_INTEGER, true},
		[D_EXPORTED] = {"exported_at", EVC_JSON_STRING, true},
		[D_KEYS] = {"keys", EVC_JSON_OBJECT, true}
	};
	const evc_json *got[D_NFIELDS];
	evc_keyring *kr = arg;
	evc_code	code = evc_json_members(value, "the export", fields, D_NFIELDS, got, err);

	if (code != EVC_OK)
		return code;
	if (strcmp(evc_json_string(got[D_FORMAT]), FORMAT) != 0)
		return evc_fail(err, EVC_FILE_FORMAT, "\"format\" is not " FORMAT);
	if (evc_json_integer(got[D_VERSION]) != FORMAT_VERSION)
		return evc_fail(err, EVC_FILE_FORMAT,
						"\"version\" of the format is not %d, the one this release knows",
						FORMAT_VERSION);
	code = check_time(got[D_EXPORTED], "exported_at", "the export", err);
	if (code != EVC_OK)
		return code;
	kr->keys = calloc(evc_json_size(got[D_KEYS]) + 1, sizeof(*kr->keys));
	if (kr->keys == NULL)
		return no_memory(err);
	return evc_json_each(got[D_KEYS], visit_key, kr, err);
}

static int
compare_entries(const void *a, const void *b)
{
	return memcmp(((const evc_keyring_entry *) a)->version->kvid,
				  ((const evc_keyring_entry *) b)->version->kvid, EVC_KVID_BYTES);
}

/* Two versions of one kvid: nobody could say which opens a value. */
static evc_code
index_versions(evc_keyring *kr, evc_err *err)
{
	size_t		n = 0;

	for (size_t i = 0; i < kr->nkeys; i++)
		n += kr->keys[i].nversions;
	kr->entries = calloc(n + 1, sizeof(*kr->entries));
	if (kr->entries == NULL)
		return no_memory(err);
	for (size_t i = 0; i < kr->nkeys; i++)
	{
		for (size_t j = 0; j < kr->keys[i].nversions; j++)
		{
			kr->entries[kr->nentries].key = &kr->keys[i];
			kr->entries[kr->nentries++].version = &kr->keys[i].versions[j];
		}
	}
	qsort(kr->entries, n, sizeof(*kr->entries), compare_entries);
	for (size_t i = 1; i < n; i++)
	{
		if (compare_entries(&kr->entries[i - 1], &kr->entries[i]) == 0)
			return evc_fail(err, EVC_FILE_FORMAT, "two keys have a version of the same kvid");
	}
	return EVC_OK;
}

size_t
evc_keyring_find(const evc_keyring *kr, const uint8_t *kvid)
{
	size_t		low = 0;
	size_t		high = kr->nentries;

	while (low < high)
	{
		size_t		middle = low + (high - low) / 2;
		int			cmp = memcmp(kr->entries[middle].version->kvid, kvid, EVC_KVID_BYTES);

		if (cmp == 0)
			return middle;
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return kr->nentries;
}

evc_code
evc_keyring_parse(const char *text, size_t len, evc_keyring **kr, evc_err *err)
{
	evc_code	code;

	*kr = calloc(1, sizeof(**kr));
	if (*kr == NULL)
		return no_memory(err);
	code = evc_json_read(text, len, &limits, read_document, *kr, err);
	if (code == EVC_OK)
		code = index_versions(*kr, err);
	if (code != EVC_OK)
	{
		evc_keyring_free(*kr);
		*kr = NULL;
	}
	return code;
}

evc_code
evc_keyring_unwrap(const evc_keyring_entry *entry, const evc_keyring_wrap *wrap,
				   const evc_keyfile *kf, evc_key *secret, evc_err *err)
{
	const evc_keyring_key *key = entry->key;
	const evc_keyring_version *v = entry->version;
	evc_binding b = evc_binding_of(key->algorithm, v->kvid, key->label);

	return evc_local_secret(kf, wrap->root_key, &b, wrap->wrapped, wrap->len,
							v->commitment, secret, err);
}
