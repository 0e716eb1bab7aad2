/*
 * keyimport.c
 *	  import_keyring(): adds the keys of an export that are not here.
 *
 * Rows of keys are never deleted, so a wrong one would stand in the way of the
 * right one for ever.  Therefore everything is compared with what is here
 * first, then every wrap that the key file reaches is opened and its secret
 * held to the commitment, and only then rows are written.  What is here is
 * never changed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "envcrypt.h"
#include "exportread.h"
#include "keytables.h"
#include "keyxact.h"
#include "localkeys.h"

PG_FUNCTION_INFO_V1(envcrypt_import_keyring);

/* ----- what is here ----- */

static void
compare_key(ExportedKey *key)
{
	KeyRow		row;
	bool		same_algorithm;

	envcrypt_lock_key(key->name);
	key->present = envcrypt_read_key(key->name, &row);
	if (!key->present)
		return;
	same_algorithm = row.algorithm == key->algorithm;
	if (!same_algorithm || strcmp(row.label, key->label) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("key \"%s\" exists with another %s", key->name,
						same_algorithm ? "label" : "algorithm"),
				 errdetail("Wraps are bound to it, and it never changes: these are two keys of one name."),
				 errhint("On one of the two sides, seal the key's values again with a key of another name, and import that one."),
				 errquiet()));
}

static void
compare_version(const ExportedKey *key, ExportedVersion *v)
{
	VersionRow	row;

	v->present = envcrypt_read_version(v->kvid, &row);
	if (!v->present)
		return;
	if (!evc_equal(row.commitment, v->commitment, EVC_COMMITMENT_BYTES))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version %s of key \"%s\" is here with another commitment", v->hex, row.key),
				 errdetail("The secret here and the one in the export are two: what is sealed with one does not open with the other."),
				 errhint("Where it still opens them, seal this version's values again with a new key, as in UPDATE t SET c = encrypt(decrypt(c), 'new'); then import an export from which this version is taken out."),
				 errquiet()));
	if (strcmp(row.key, key->name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("version %s is of key \"%s\" here and of key \"%s\" in the export", v->hex,
						row.key, key->name),
				 errquiet()));
}

/* A wrap of the same root key is left alone, also when its bytes are others. */
static void
compare_wraps(ExportedVersion *v)
{
	List	   *here = envcrypt_read_wraps(v->kvid);
	ListCell   *lw;
	ListCell   *lc;

	foreach(lw, v->wraps)
	{
		ExportedWrap *w = lfirst(lw);

		foreach(lc, here)
			w->present |= strcmp(((WrapRow *) lfirst(lc))->root_key, w->root_key) == 0;
	}
}

static void
compare_with_catalog(List *keys)
{
	ListCell   *lk;
	ListCell   *lv;

	foreach(lk, keys)
	{
		ExportedKey *key = lfirst(lk);

		compare_key(key);
		foreach(lv, key->versions)
		{
			compare_version(key, lfirst(lv));
			compare_wraps(lfirst(lv));
		}
	}
}

/* ----- proof ----- */

/*
 * Raises nothing: the key file is open.  A root key that is not in it is no
 * failure, since an export may arrive before the key file does.
 */
static evc_code
prove_version(const evc_keyfile *kf, const ExportedKey *key, ExportedVersion *v, evc_err *err)
{
	evc_binding b = evc_binding_of(key->algorithm, v->kvid, key->label);
	ListCell   *lc;

	foreach(lc, v->wraps)
	{
		ExportedWrap *w = lfirst(lc);
		evc_key		secret;
		evc_code	rc;

		if (w->present)
			continue;
		rc = evc_local_secret(kf, w->root_key, &b, w->wrapped, w->len, v->commitment, &secret, err);
		w->proven = rc == EVC_OK;
		if (w->proven)
			evc_wipe(&secret, sizeof(secret));
		if (rc != EVC_OK && rc != EVC_NO_ROOT_KEY && rc != EVC_ROOT_KEY_DISABLED)
			return rc;
	}
	return EVC_OK;
}

static void throw_unproven(const ExportedVersion *v, const ExportedKey *key, const evc_err *err)
			__attribute__((noreturn));

static void
throw_unproven(const ExportedVersion *v, const ExportedKey *key, const evc_err *err)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a wrap of version %s of key \"%s\" does not open to its secret", v->hex, key->name),
			 errdetail("%s.", err->msg),
			 errhint("The export was altered, or the key file has another root key of that name. \"envcrypt keyring verify\" tells which wraps are good."),
			 errquiet()));
}

/* Without a readable key file nothing is proven, and the import goes on. */
static void
prove(List *keys)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;
	evc_code	rc = EVC_OK;
	ListCell   *lk;
	ListCell   *lv = NULL;

	if (envcrypt_local_open(&kf, &err) != EVC_OK)
		return;
	foreach(lk, keys)
	{
		ExportedKey *key = lfirst(lk);

		foreach(lv, key->versions)
		{
			rc = prove_version(kf, key, lfirst(lv), &err);
			if (rc != EVC_OK)
				break;
		}
		if (rc != EVC_OK)
			break;
	}
	evc_keyfile_free(kf);
	if (rc != EVC_OK)
		throw_unproven(lfirst(lv), lfirst(lk), &err);
}

/* ----- writing ----- */

static void
insert_key(const ExportedKey *key)
{
	WriteArgs	args = {0};

	envcrypt_arg_text(&args, key->name);
	envcrypt_arg_text(&args, key->label);
	envcrypt_arg_text(&args, evc_algorithm_name(key->algorithm));
	envcrypt_arg_names(&args, key->root_keys);
	envcrypt_arg(&args, BOOLOID, BoolGetDatum(key->enabled));
	envcrypt_arg_text(&args, GetUserNameFromId(GetUserId(), false));
	envcrypt_arg(&args, TIMESTAMPTZOID, TimestampTzGetDatum(key->created_at));
	envcrypt_write("INSERT INTO envcrypt.key (name, label, algorithm, root_keys, enabled, created_by, created_at)"
				   " VALUES ($1, $2, $3, $4, $5, $6, $7)", &args);
}

/*
 * The number and state a version gets here: those it had, unless another
 * version has its number, or is primary already.
 */
static void
fit_in(const ExportedKey *key, ExportedVersion *v)
{
	int32		last = 0;
	bool		taken = false;
	ListCell   *lc;

	foreach(lc, envcrypt_read_versions(key->name))
	{
		VersionRow *row = lfirst(lc);

		last = Max(last, row->number);
		taken |= row->number == v->number;
		if (row->state == VERSION_PRIMARY && v->state == VERSION_PRIMARY)
			v->state = VERSION_DECRYPT_ONLY;
	}
	if (!taken)
		return;
	if (last == PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("key \"%s\" has no number left for a version", key->name),
				 errquiet()));
	v->number = last + 1;
}

static void
insert_version(const ExportedKey *key, ExportedVersion *v)
{
	WriteArgs	args = {0};

	fit_in(key, v);
	envcrypt_arg_bytes(&args, v->kvid, EVC_KVID_BYTES);
	envcrypt_arg_text(&args, key->name);
	envcrypt_arg(&args, INT4OID, Int32GetDatum(v->number));
	envcrypt_arg_text(&args, envcrypt_state_name(v->state));
	envcrypt_arg(&args, BOOLOID, BoolGetDatum(v->compromised));
	envcrypt_arg_text(&args, evc_algorithm_name(key->algorithm));
	envcrypt_arg_bytes(&args, v->commitment, EVC_COMMITMENT_BYTES);
	if (v->origin != NULL)
		envcrypt_arg_bytes(&args, v->origin, v->origin_len);
	else
		envcrypt_arg_null(&args, BYTEAOID);
	envcrypt_arg(&args, TIMESTAMPTZOID, TimestampTzGetDatum(v->created_at));
	envcrypt_arg(&args, TIMESTAMPTZOID, TimestampTzGetDatum(v->changed_at));
	envcrypt_write("INSERT INTO envcrypt.key_version"
				   " (kvid, key, number, state, compromised, algorithm, commitment, options, origin,"
				   " created_at, changed_at)"
				   " VALUES ($1, $2, $3, $4, $5, $6, $7, '{}', $8, $9, $10)", &args);
}

static void
insert_wrap(const ExportedVersion *v, const ExportedWrap *w)
{
	WriteArgs	args = {0};

	envcrypt_arg_bytes(&args, v->kvid, EVC_KVID_BYTES);
	envcrypt_arg_text(&args, w->root_key);
	envcrypt_arg_bytes(&args, w->wrapped, w->len);
	if (w->proven || w->verified)
		envcrypt_arg(&args, TIMESTAMPTZOID,
					 TimestampTzGetDatum(w->proven ? GetCurrentTransactionStartTimestamp() : w->verified_at));
	else
		envcrypt_arg_null(&args, TIMESTAMPTZOID);
	envcrypt_write("INSERT INTO envcrypt.key_wrap (kvid, root_key, wrapped, verified_at)"
				   " VALUES ($1, $2, $3, $4)", &args);
}

/* Returns how many rows were added; *untried counts versions without a proven wrap. */
static int32
write_version(const ExportedKey *key, ExportedVersion *v, int *untried)
{
	int32		rows = 0;
	bool		proven = false;
	ListCell   *lc;

	if (!v->present)
	{
		insert_version(key, v);
		rows++;
	}
	foreach(lc, v->wraps)
	{
		ExportedWrap *w = lfirst(lc);

		proven |= w->proven;
		if (w->present)
			continue;
		insert_wrap(v, w);
		rows++;
	}
	*untried += !v->present && !proven && v->state != VERSION_DESTROYED;
	return rows;
}

static int32
write_key(ExportedKey *key, int *untried)
{
	int32		rows = 0;
	StringInfoData detail;
	ListCell   *lc;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"versions\":[");
	if (!key->present)
	{
		insert_key(key);
		rows++;
	}
	foreach(lc, key->versions)
	{
		ExportedVersion *v = lfirst(lc);

		if (!v->present)
			appendStringInfo(&detail, "%s\"%s\"", detail.data[detail.len - 1] == '[' ? "" : ",", v->hex);
		rows += write_version(key, v, untried);
	}
	appendStringInfo(&detail, "],\"rows\":%d}", rows);
	if (rows > 0)
		envcrypt_audit("import_keyring", key->name, detail.data);
	return rows;
}

Datum
envcrypt_import_keyring(PG_FUNCTION_ARGS)
{
	List	   *keys;
	ListCell   *lc;
	int32		rows = 0;
	int			untried = 0;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a superuser can import keys"),
				 errquiet()));
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keyring must not be null"),
				 errquiet()));
	PreventCommandDuringRecovery("import_keyring()");
	keys = envcrypt_read_export(PG_GETARG_TEXT_PP(0));
	compare_with_catalog(keys);
	prove(keys);
	foreach(lc, keys)
		rows += write_key(lfirst(lc), &untried);
	if (rows > 0)
		envcrypt_key_made();
	if (untried > 0)
		ereport(NOTICE,
				(errmsg("%d of the versions added could not be tried", untried),
				 errdetail("None of their root keys is in the key file of this server; until one is, their values do not open."),
				 errquiet()));
	PG_RETURN_INT32(rows);
}
