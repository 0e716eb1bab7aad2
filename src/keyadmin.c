/*
 * keyadmin.c
 *	  create_key(), disable_key() and enable_key().
 *
 * A new version's secret exists in one stack frame, is wrapped under every
 * root key, opened again from each wrap to prove that it can be, and wiped;
 * only then are rows written, in the caller's transaction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/varlena.h"

#include "envcrypt.h"
#include "guc.h"
#include "keyadmin.h"
#include "keytables.h"
#include "keyxact.h"
#include "localkeys.h"

PG_FUNCTION_INFO_V1(envcrypt_create_key);
PG_FUNCTION_INFO_V1(envcrypt_disable_key);
PG_FUNCTION_INFO_V1(envcrypt_enable_key);

#define MAX_ROOT_KEYS 16

/* A key as asked for. */
typedef struct KeySpec
{
	char	   *name;
	char	   *label;
	uint8		algorithm;
	List	   *root_keys;		/* of char *, each ENDPOINT:KEY */
} KeySpec;

/* What is public of a new version. */
typedef struct NewVersion
{
	uint8		kvid[EVC_KVID_BYTES];
	uint8		commitment[EVC_COMMITMENT_BYTES];
	uint8		wraps[MAX_ROOT_KEYS][EVC_LOCAL_WRAP_BYTES];
} NewVersion;

static char *
name_arg(FunctionCallInfo fcinfo, int n, const char *what)
{
	char	   *name;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must not be null", what),
				 errquiet()));
	name = text_to_cstring(PG_GETARG_TEXT_PP(n));
	if (!evc_name_valid(name, strlen(name)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not valid", what),
				 errhint("Names have 1 to %d characters of A-Z, a-z, 0-9 and _ . : @ / -.", EVC_NAME_MAX),
				 errquiet()));
	return name;
}

static uint8
algorithm_arg(FunctionCallInfo fcinfo, int n)
{
	uint8		algorithm;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("algorithm must not be null"),
				 errquiet()));
	algorithm = evc_algorithm_by_name(text_to_cstring(PG_GETARG_TEXT_PP(n)));
	if (algorithm == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized algorithm of a key"),
				 errhint("Algorithms are xaes-256-gcm (randomized) and aes-256-siv (searchable)."),
				 errquiet()));
	if (evc_algorithm_seals(algorithm) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("algorithm \"%s\" needs a newer envcrypt", evc_algorithm_name(algorithm)),
				 errquiet()));
	return algorithm;
}

/* A root key must be one this node has; being listed is being allowed. */
static void
check_root_key(const char *root_key)
{
	const char *name = evc_local_name(root_key);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("root key names an endpoint that is not listed"),
				 errhint("A root key is ENDPOINT:KEY; this release has the endpoint \"local\", as in local:default."),
				 errquiet()));
	if (!evc_name_valid(name, strlen(name)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name of a root key is not valid"),
				 errhint("A root key is ENDPOINT:KEY, as in local:default."),
				 errquiet()));
}

static List *
default_root_keys(void)
{
	List	   *names;

	if (!SplitGUCList(pstrdup(envcrypt_default_root_keys), ',', &names))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("setting envcrypt.default_root_keys is not a list of root keys"),
				 errquiet()));
	return names;
}

static List *
array_names(ArrayType *array)
{
	List	   *names = NIL;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	for (int i = 0; i < n; i++)
		names = lappend(names, nulls[i] ? pstrdup("") : TextDatumGetCString(elems[i]));
	return names;
}

static List *
root_keys_arg(FunctionCallInfo fcinfo, int n)
{
	List	   *names = PG_ARGISNULL(n) ? default_root_keys() : array_names(PG_GETARG_ARRAYTYPE_P(n));
	List	   *unique = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		bool		seen = false;
		ListCell   *u;

		check_root_key(lfirst(lc));
		foreach(u, unique)
			seen |= strcmp(lfirst(u), lfirst(lc)) == 0;
		if (!seen)
			unique = lappend(unique, lfirst(lc));
	}
	if (unique == NIL || list_length(unique) > MAX_ROOT_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a key needs between 1 and %d root keys", MAX_ROOT_KEYS),
				 errquiet()));
	return unique;
}

/* A kvid that is valid and that no version of this database has. */
static void
draw_kvid(uint8 *kvid)
{
	static const uint8 zeros[EVC_KVID_BYTES] = {0};
	static const uint8 ones[EVC_KVID_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	evc_err		err = EVC_ERR_INIT;
	VersionRow	row;

	do
	{
		if (evc_random(kvid, EVC_KVID_BYTES, &err) != EVC_OK)
			envcrypt_throw(&err);
	} while (memcmp(kvid, zeros, EVC_KVID_BYTES) == 0 ||
			 memcmp(kvid, ones, EVC_KVID_BYTES) == 0 ||
			 envcrypt_read_version(kvid, &row));
}

/* Wrap, open what came out, and compare.  Raises nothing. */
static evc_code
wrap_and_prove(const evc_keyfile *kf, const char *root_key, const evc_binding *b,
			   const evc_key *secret, uint8 *out, evc_err *err)
{
	const char *name = evc_local_name(root_key);
	evc_key		opened;
	evc_code	rc = evc_local_wrap(kf, name, b, secret, out, err);

	if (rc != EVC_OK)
		return rc;
	rc = evc_local_unwrap(kf, name, b, out, EVC_LOCAL_WRAP_BYTES, &opened, err);
	if (rc == EVC_OK && !evc_equal(&opened, secret, sizeof(opened)))
		rc = evc_fail(err, EVC_BAD_WRAP, "a new wrap does not open to its secret");
	evc_wipe(&opened, sizeof(opened));
	return rc;
}

/* The secret's whole life.  Raises nothing while it is there. */
static evc_code
make_secret(const KeySpec *spec, const evc_keyfile *kf, NewVersion *made, evc_err *err)
{
	evc_binding b = evc_binding_of(spec->algorithm, made->kvid, spec->label);
	evc_key		secret;
	evc_code	rc;
	ListCell   *lc;

	rc = evc_random(&secret, sizeof(secret), err);
	if (rc == EVC_OK)
		rc = evc_commitment(spec->algorithm, made->kvid, &secret, made->commitment, err);
	foreach(lc, spec->root_keys)
	{
		if (rc != EVC_OK)
			break;
		rc = wrap_and_prove(kf, lfirst(lc), &b, &secret, made->wraps[foreach_current_index(lc)], err);
	}
	evc_wipe(&secret, sizeof(secret));
	return rc;
}

static void
make_version(const KeySpec *spec, NewVersion *made)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;
	evc_code	rc;

	draw_kvid(made->kvid);
	rc = envcrypt_local_open(&kf, &err);
	if (rc == EVC_OK)
	{
		rc = make_secret(spec, kf, made, &err);
		evc_keyfile_free(kf);
	}
	if (rc != EVC_OK)
		envcrypt_throw_unavailable(spec->name, &err);
}

static void
insert_key(const KeySpec *spec)
{
	WriteArgs	args = {0};

	envcrypt_arg_text(&args, spec->name);
	envcrypt_arg_text(&args, spec->label);
	envcrypt_arg_text(&args, evc_algorithm_name(spec->algorithm));
	envcrypt_arg_names(&args, spec->root_keys);
	envcrypt_arg_text(&args, GetUserNameFromId(GetUserId(), false));
	envcrypt_write("INSERT INTO envcrypt.key (name, label, algorithm, root_keys, enabled, created_by, created_at)"
				   " VALUES ($1, $2, $3, $4, true, $5, pg_catalog.now())", &args);
}

static void
insert_version(const KeySpec *spec, const NewVersion *made)
{
	WriteArgs	args = {0};

	envcrypt_arg_bytes(&args, made->kvid, EVC_KVID_BYTES);
	envcrypt_arg_text(&args, spec->name);
	envcrypt_arg_text(&args, evc_algorithm_name(spec->algorithm));
	envcrypt_arg_bytes(&args, made->commitment, EVC_COMMITMENT_BYTES);
	envcrypt_write("INSERT INTO envcrypt.key_version"
				   " (kvid, key, number, state, compromised, algorithm, commitment, options,"
				   " created_at, changed_at)"
				   " VALUES ($1, $2, 1, 'primary', false, $3, $4, '{}', pg_catalog.now(), pg_catalog.now())", &args);
}

static void
insert_wraps(const KeySpec *spec, const NewVersion *made)
{
	ListCell   *lc;

	foreach(lc, spec->root_keys)
	{
		WriteArgs	args = {0};

		envcrypt_arg_bytes(&args, made->kvid, EVC_KVID_BYTES);
		envcrypt_arg_text(&args, lfirst(lc));
		envcrypt_arg_bytes(&args, made->wraps[foreach_current_index(lc)], EVC_LOCAL_WRAP_BYTES);
		envcrypt_write("INSERT INTO envcrypt.key_wrap (kvid, root_key, wrapped, verified_at)"
					   " VALUES ($1, $2, $3, pg_catalog.now())", &args);
	}
}

static char *
key_detail(const KeySpec *spec)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"algorithm\":\"%s\",\"label\":", evc_algorithm_name(spec->algorithm));
	escape_json(&buf, spec->label);
	appendStringInfoString(&buf, ",\"root_keys\":[");
	foreach(lc, spec->root_keys)
	{
		appendStringInfoString(&buf, foreach_current_index(lc) ? "," : "");
		escape_json(&buf, lfirst(lc));
	}
	appendStringInfoString(&buf, "]}");
	return buf.data;
}

Datum
envcrypt_create_key(PG_FUNCTION_ARGS)
{
	KeySpec		spec = {0};
	NewVersion	made;
	KeyRow		row;

	spec.name = name_arg(fcinfo, 0, "name of a key");
	spec.algorithm = algorithm_arg(fcinfo, 1);
	spec.root_keys = root_keys_arg(fcinfo, 2);
	spec.label = PG_ARGISNULL(3) ? spec.name : name_arg(fcinfo, 3, "label of a key");
	PreventCommandDuringRecovery("create_key()");
	envcrypt_lock_key(spec.name);
	if (envcrypt_read_key(spec.name, &row))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("key \"%s\" already exists", spec.name),
				 errhint("The name of a key is never used again."),
				 errquiet()));
	make_version(&spec, &made);
	insert_key(&spec);
	insert_version(&spec, &made);
	insert_wraps(&spec, &made);
	if (!superuser())
		envcrypt_add_grant(spec.name, GetUserNameFromId(GetUserId(), false), GetUserId(),
						   KEY_PRIV_ENCRYPT | KEY_PRIV_DECRYPT | KEY_PRIV_MANAGE);
	envcrypt_audit("create_key", spec.name, key_detail(&spec));
	envcrypt_key_made();
	PG_RETURN_VOID();
}

void
envcrypt_key_to_manage(FunctionCallInfo fcinfo, const char *what, KeyRow *row)
{
	char	   *name = name_arg(fcinfo, 0, "name of a key");

	PreventCommandDuringRecovery(what);
	envcrypt_lock_key(name);
	if (!envcrypt_read_key(name, row))
		envcrypt_throw_unknown_key(name, strlen(name));
	if ((envcrypt_read_privileges(row, GetUserId()) & KEY_PRIV_MANAGE) == 0)
		envcrypt_throw_denied(name, KEY_PRIV_MANAGE);
}

/* To be what it is already is no error: an emergency stop may come twice. */
static void
set_enabled(FunctionCallInfo fcinfo, const char *what, bool enabled)
{
	WriteArgs	args = {0};
	KeyRow		row;

	envcrypt_key_to_manage(fcinfo, what, &row);
	if (row.enabled == enabled)
		return;
	envcrypt_arg_text(&args, row.name);
	envcrypt_arg(&args, BOOLOID, BoolGetDatum(enabled));
	envcrypt_write("UPDATE envcrypt.key SET enabled = $2 WHERE name OPERATOR(pg_catalog.=) $1", &args);
	envcrypt_audit(enabled ? "enable_key" : "disable_key", row.name, "{}");
}

Datum
envcrypt_disable_key(PG_FUNCTION_ARGS)
{
	set_enabled(fcinfo, "disable_key()", false);
	PG_RETURN_VOID();
}

Datum
envcrypt_enable_key(PG_FUNCTION_ARGS)
{
	set_enabled(fcinfo, "enable_key()", true);
	PG_RETURN_VOID();
}
