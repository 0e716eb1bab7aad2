/*
 * exportread.c
 *	  Reading the JSON of export_keyring().
 *
 * By declared tables of members: what is not in a table is refused, since it
 * could be something of a newer release without which values cannot be read.
 * The server's own jsonb does the parsing, so that nothing here owns memory
 * that an error would lose.  jsonb keeps the last of two members of one name.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/codec.h"
#include "envcrypt.h"
#include "exportread.h"
#include "kms/local.h"
#include "localkeys.h"

#define FORMAT				"envcrypt-keyring"
#define FORMAT_VERSION		1
#define MAX_WRAP_BYTES		16384
#define MAX_ROOT_KEY_BYTES	512
#define MAX_ORIGIN_BYTES	16384

/* A member: a scalar of this type, or jbvObject and jbvArray for containers. */
typedef struct Field
{
	const char *name;
	enum jbvType type;
	bool		nullable;
} Field;

static void throw_field(const char *what, const char *field, const char *rule)
			__attribute__((noreturn));

static void
throw_field(const char *what, const char *field, const char *rule)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of %s is not %s", field, what, rule),
			 errhint("An export is what envcrypt.export_keyring() returned, unchanged."),
			 errquiet()));
}

static void throw_newer(const char *what) __attribute__((noreturn));

static void
throw_newer(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s needs a newer envcrypt", what),
			 errquiet()));
}

static bool
is_type(const JsonbValue *v, enum jbvType type)
{
	if (v->type != jbvBinary)
		return v->type == type;
	return type == (JsonContainerIsObject(v->val.binary.data) ? jbvObject : jbvArray);
}

static const char *
type_rule(enum jbvType type)
{
	switch (type)
	{
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "true or false";
		case jbvArray:
			return "an array";
		default:
			return "an object";
	}
}

/*
 * Find the members of an object.  All must be there, those that are nullable
 * may be null or absent: then values[i] is jbvNull.
 */
static void
members(const JsonbValue *object, const char *what, const Field *fields, int n, JsonbValue *values)
{
	JsonbContainer *c = object->val.binary.data;
	uint32		known = 0;

	for (int i = 0; i < n; i++)
	{
		JsonbValue *found = getKeyJsonValueFromContainer(c, fields[i].name, strlen(fields[i].name),
														 &values[i]);

		known += found != NULL;
		if (found == NULL)
			values[i].type = jbvNull;
		if (values[i].type == jbvNull && fields[i].nullable)
			continue;
		if (!is_type(&values[i], fields[i].type))
			throw_field(what, fields[i].name, type_rule(fields[i].type));
	}
	if (known != JsonContainerSize(c))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s has a member that this release does not know", what),
				 errquiet()));
}

/* Call a reader for each member of an object: its name, and an object. */
typedef void (*member_reader) (const char *name, const JsonbValue *value, void *arg);

static void
each(const JsonbValue *object, const char *what, member_reader reader, void *arg)
{
	JsonbIterator *it = JsonbIteratorInit(object->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue	v;
	char	   *name = NULL;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
		{
			if (!is_type(&v, jbvObject))
				throw_field(what, "a member", "an object");
			reader(name, &v, arg);
		}
	}
}

static char *
string_of(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

/* Lower-case hex of between min and max bytes. */
static uint8 *
hex_of(const JsonbValue *v, size_t min, size_t max, size_t *len, const char *what, const char *field)
{
	char	   *text = string_of(v);
	size_t		digits = strlen(text);
	uint8	   *out = palloc(digits / 2 + 1);

	if (digits / 2 < min || digits / 2 > max || strspn(text, "0123456789abcdef") != digits ||
		evc_hex_decode(text, digits, out, digits / 2, len, NULL) != EVC_OK)
		throw_field(what, field, psprintf("between %zu and %zu bytes in lower-case hex", min, max));
	return out;
}

static void
fixed_hex(const JsonbValue *v, uint8 *out, size_t len, const char *what, const char *field)
{
	size_t		n;

	memcpy(out, hex_of(v, len, len, &n, what, field), len);
}

static int32
number_of(const JsonbValue *v, const char *what, const char *field)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (*end != '\0' || errno != 0 || number < 1 || number > PG_INT32_MAX)
		throw_field(what, field, "a whole number from 1 on");
	return (int32) number;
}

/* Whether the text is of a form, in which d stands for a digit. */
static bool
has_form(const char *text, const char *form)
{
	while (*form != '\0' && (*form == 'd' ? *text >= '0' && *text <= '9' : *text == *form))
		form++, text++;
	return *form == '\0' && *text == '\0';
}

/* YYYY-MM-DDThh:mm:ss.ffffffZ, the fraction as exported or left out */
static TimestampTz
time_of(const JsonbValue *v, const char *what, const char *field)
{
	char	   *text = string_of(v);
	int			y,
				mon,
				d,
				h,
				min,
				s,
				us = 0;
	struct pg_tm tm = {0};
	Timestamp	result;
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool		ok = has_form(text, "dddd-dd-ddTdd:dd:dd.ddddddZ") ||
		has_form(text, "dddd-dd-ddTdd:dd:ddZ");

	ok = ok && sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6d", &y, &mon, &d, &h, &min, &s, &us) >= 6;
	ok = ok && y > 0 && mon >= 1 && mon <= 12 && d >= 1 && h < 24 && min < 60 && s < 60 &&
		d <= days[mon - 1] + (mon == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0));
	if (ok)
	{
		tm.tm_year = y;
		tm.tm_mon = mon;
		tm.tm_mday = d;
		tm.tm_hour = h;
		tm.tm_min = min;
		tm.tm_sec = s;
		ok = tm2timestamp(&tm, us, NULL, &result) == 0;
	}
	if (!ok)
		throw_field(what, field, "a time of the form YYYY-MM-DDThh:mm:ss.ffffffZ");
	return (TimestampTz) result;
}

/* ENDPOINT:KEY in printable ASCII, of any endpoint. */
static char *
root_key_of(char *text, const char *what, const char *field)
{
	const char *colon = strchr(text, ':');
	size_t		len = strlen(text);
	bool		ok = len <= MAX_ROOT_KEY_BYTES && colon != NULL && colon != text && colon[1] != '\0';

	for (size_t i = 0; ok && i < len; i++)
		ok = text[i] > ' ' && text[i] <= '~';
	if (!ok)
		throw_field(what, field, "a root key, ENDPOINT:KEY");
	return text;
}

static List *
root_keys_of(const JsonbValue *array, const char *what)
{
	JsonbIterator *it = JsonbIteratorInit(array->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue	v;
	List	   *names = NIL;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (v.type != jbvString)
			throw_field(what, "root_keys", "an array of strings");
		names = lappend(names, root_key_of(string_of(&v), what, "root_keys"));
	}
	return names;
}

static void
read_wrap(const char *name, const JsonbValue *value, void *arg)
{
	enum
	{
		WRAPPED, VERIFIED, NFIELDS
	};
	static const Field fields[NFIELDS] = {
		[WRAPPED] = {"wrapped", jbvString, false},
		[VERIFIED] = {"verified_at", jbvString, true}
	};
	ExportedVersion *v = arg;
	ExportedWrap *w = palloc0(sizeof(ExportedWrap));
	char	   *what = psprintf("a wrap of version %s", v->hex);
	JsonbValue	got[NFIELDS];
	bool		local;

	members(value, what, fields, NFIELDS, got);
	w->root_key = root_key_of(pstrdup(name), what, "root key");
	local = evc_local_name(name) != NULL;
	w->wrapped = hex_of(&got[WRAPPED], local ? EVC_LOCAL_WRAP_BYTES : 1,
						local ? EVC_LOCAL_WRAP_BYTES : MAX_WRAP_BYTES, &w->len, what, "wrapped");
	w->verified = got[VERIFIED].type != jbvNull;
	if (w->verified)
		w->verified_at = time_of(&got[VERIFIED], what, "verified_at");
	v->wraps = lappend(v->wraps, w);
}

static VersionState
state_of(const JsonbValue *v, const char *what)
{
	char	   *name = string_of(v);

	for (VersionState s = VERSION_PENDING; s <= VERSION_DESTROYED; s++)
		if (strcmp(name, envcrypt_state_name(s)) == 0)
			return s;
	throw_field(what, "state", "the name of a state");
}

enum
{
	V_NUMBER, V_STATE, V_COMPROMISED, V_COMMITMENT, V_OPTIONS, V_ORIGIN, V_CREATED,
	V_CHANGED, V_WRAPS, V_NFIELDS
};

static const Field version_fields[V_NFIELDS] = {
	[V_NUMBER] = {"number", jbvNumeric, false},
	[V_STATE] = {"state", jbvString, false},
	[V_COMPROMISED] = {"compromised", jbvBool, false},
	[V_COMMITMENT] = {"commitment", jbvString, false},
	[V_OPTIONS] = {"options", jbvObject, false},
	[V_ORIGIN] = {"origin", jbvString, true},
	[V_CREATED] = {"created_at", jbvString, false},
	[V_CHANGED] = {"changed_at", jbvString, false},
	[V_WRAPS] = {"wraps", jbvObject, false}
};

static void
read_kvid(ExportedVersion *v, const char *name, const char *key)
{
	static const uint8 zeros[EVC_KVID_BYTES] = {0};
	static const uint8 ones[EVC_KVID_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	size_t		n;

	if (strlen(name) != 2 * EVC_KVID_BYTES || strspn(name, "0123456789abcdef") != strlen(name) ||
		evc_hex_decode(name, strlen(name), v->kvid, EVC_KVID_BYTES, &n, NULL) != EVC_OK ||
		memcmp(v->kvid, zeros, EVC_KVID_BYTES) == 0 || memcmp(v->kvid, ones, EVC_KVID_BYTES) == 0)
		throw_field(key, "kvid of a version", "one, in 16 lower-case hex digits");
	strcpy(v->hex, name);
}

static void
read_version(const char *name, const JsonbValue *value, void *arg)
{
	ExportedKey *key = arg;
	ExportedVersion *v = palloc0(sizeof(ExportedVersion));
	JsonbValue	got[V_NFIELDS];
	char	   *what;

	read_kvid(v, name, psprintf("key \"%s\"", key->name));
	what = psprintf("version %s of key \"%s\"", v->hex, key->name);
	members(value, what, version_fields, V_NFIELDS, got);
	v->number = number_of(&got[V_NUMBER], what, "number");
	v->state = state_of(&got[V_STATE], what);
	v->compromised = got[V_COMPROMISED].val.boolean;
	fixed_hex(&got[V_COMMITMENT], v->commitment, EVC_COMMITMENT_BYTES, what, "commitment");
	if (JsonContainerSize(got[V_OPTIONS].val.binary.data) != 0)
		throw_newer(psprintf("an option of %s", what));
	if (got[V_ORIGIN].type != jbvNull)
		v->origin = hex_of(&got[V_ORIGIN], 1, MAX_ORIGIN_BYTES, &v->origin_len, what, "origin");
	v->created_at = time_of(&got[V_CREATED], what, "created_at");
	v->changed_at = time_of(&got[V_CHANGED], what, "changed_at");
	each(&got[V_WRAPS], what, read_wrap, v);
	key->versions = lappend(key->versions, v);
}

static int
by_number(const ListCell *a, const ListCell *b)
{
	const ExportedVersion *va = lfirst(a);
	const ExportedVersion *vb = lfirst(b);

	return va->number < vb->number ? -1 : va->number > vb->number;
}

enum
{
	K_LABEL, K_ALGORITHM, K_ENABLED, K_ROOT_KEYS, K_CREATED, K_VERSIONS, K_NFIELDS
};

static const Field key_fields[K_NFIELDS] = {
	[K_LABEL] = {"label", jbvString, false},
	[K_ALGORITHM] = {"algorithm", jbvString, false},
	[K_ENABLED] = {"enabled", jbvBool, false},
	[K_ROOT_KEYS] = {"root_keys", jbvArray, false},
	[K_CREATED] = {"created_at", jbvString, false},
	[K_VERSIONS] = {"versions", jbvObject, false}
};

static void
read_key(const char *name, const JsonbValue *value, void *arg)
{
	List	  **keys = arg;
	ExportedKey *key = palloc0(sizeof(ExportedKey));
	JsonbValue	got[K_NFIELDS];
	char	   *what;

	if (!evc_name_valid(name, strlen(name)))
		throw_field("the export", "name of a key", "valid");
	what = psprintf("key \"%s\"", name);
	key->name = pstrdup(name);
	members(value, what, key_fields, K_NFIELDS, got);
	key->label = string_of(&got[K_LABEL]);
	if (!evc_name_valid(key->label, strlen(key->label)))
		throw_field(what, "label", "valid");
	key->algorithm = evc_algorithm_by_name(string_of(&got[K_ALGORITHM]));
	if (key->algorithm == 0)
		throw_newer(psprintf("the algorithm of %s", what));
	key->enabled = got[K_ENABLED].val.boolean;
	key->root_keys = root_keys_of(&got[K_ROOT_KEYS], what);
	if (key->root_keys == NIL)
		throw_field(what, "root_keys", "an array of at least one");
	key->created_at = time_of(&got[K_CREATED], what, "created_at");
	each(&got[K_VERSIONS], what, read_version, key);
	list_sort(key->versions, by_number);
	*keys = lappend(*keys, key);
}

List *
envcrypt_read_export(text *json)
{
	enum
	{
		D_FORMAT, D_VERSION, D_EXPORTED, D_KEYS, D_NFIELDS
	};
	static const Field fields[D_NFIELDS] = {
		[D_FORMAT] = {"format", jbvString, false},
		[D_VERSION] = {"version", jbvNumeric, false},
		[D_EXPORTED] = {"exported_at", jbvString, false},
		[D_KEYS] = {"keys", jbvObject, false}
	};
	Jsonb	   *doc = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(json))));
	JsonbValue	root = {.type = jbvBinary};
	JsonbValue	got[D_NFIELDS];
	List	   *keys = NIL;

	root.val.binary.data = &doc->root;
	if (!is_type(&root, jbvObject))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("not an export of keys"),
				 errhint("An export is what envcrypt.export_keyring() returned, unchanged."),
				 errquiet()));
	members(&root, "the export", fields, D_NFIELDS, got);
	if (strcmp(string_of(&got[D_FORMAT]), FORMAT) != 0)
		throw_field("the export", "format", "\"" FORMAT "\"");
	if (number_of(&got[D_VERSION], "the export", "version") != FORMAT_VERSION)
		throw_newer("an export of that version");
	(void) time_of(&got[D_EXPORTED], "the export", "exported_at");
	each(&got[D_KEYS], "the export", read_key, &keys);
	return keys;
}
