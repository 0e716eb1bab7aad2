/*
 * check.c
 *	  What envcrypt.check() cannot ask of SQL: the key file, and whether the
 *	  wraps of the key tables open with it.  And note_copy(), by which people
 *	  tell check() of copies that no program can see.
 *
 * Findings themselves are put together in SQL, see sql/envcrypt--0.1--0.2.sql.
 * Nothing here raises for what is wrong with the file or a wrap: that is what
 * is asked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "envcrypt.h"
#include "guc.h"
#include "keytables.h"
#include "kms/keyfile.h"
#include "localkeys.h"

PG_FUNCTION_INFO_V1(envcrypt_key_file_status);
PG_FUNCTION_INFO_V1(envcrypt_wrap_problems);
PG_FUNCTION_INFO_V1(envcrypt_note_copy);

#define MAX_PLACE_BYTES 500

/* ---------- the key file ---------- */

/* Its path as it is opened, or as it is set when it has no such path. */
static Datum
key_file_path(void)
{
	char		path[MAXPGPATH];

	if (evc_path_expand(envcrypt_local_key_file, path, sizeof(path), NULL) != EVC_OK)
		return CStringGetTextDatum(envcrypt_local_key_file);
	return CStringGetTextDatum(path);
}

static const char *
problem_name(evc_code code)
{
	switch (code)
	{
		case EVC_FILE_MISSING:
			return "missing";
		case EVC_FILE_UNSAFE:
			return "unsafe";
		case EVC_FILE_FORMAT:
			return "damaged";
		default:
			return "unreadable";
	}
}

/* When the newest root key of the file was made; times of one form sort as text. */
static void
newest_version(const evc_keyfile *kf, char *created)
{
	created[0] = '\0';
	for (size_t i = 0; i < kf->nkeys; i++)
		for (size_t j = 0; j < kf->keys[i].nversions; j++)
			if (strcmp(kf->keys[i].versions[j].created, created) > 0)
				strlcpy(created, kf->keys[i].versions[j].created, EVC_ROOT_CREATED_BYTES + 1);
}

/* One row: path, problem, message, changed_at. */
Datum
envcrypt_key_file_status(PG_FUNCTION_ARGS)
{
	Datum		values[4] = {0};
	bool		nulls[4] = {false, true, true, true};
	char		created[EVC_ROOT_CREATED_BYTES + 1] = "";
	evc_err		err = EVC_ERR_INIT;
	TupleDesc	desc;
	evc_keyfile *kf;
	evc_code	rc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rc = envcrypt_local_open(&kf, &err);
	if (rc == EVC_OK)
	{
		newest_version(kf, created);
		evc_keyfile_free(kf);
	}
	values[0] = key_file_path();
	if (rc != EVC_OK)
	{
		nulls[1] = nulls[2] = false;
		values[1] = CStringGetTextDatum(problem_name(rc));
		values[2] = CStringGetTextDatum(err.msg);
	}
	else if (created[0] != '\0')
	{
		/* text, because the file's times need not be times: only their form is checked */
		nulls[3] = false;
		values[3] = CStringGetTextDatum(created);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---------- wraps ---------- */

/* A wrap to be tried: all that takes, read before the key file is opened. */
typedef struct Trial
{
	const char *root_key;
	char		label[EVC_NAME_MAX + 1];
	VersionRow	version;
	bytea	   *wrapped;		/* NULL when the row has gone meanwhile */
	evc_err		err;
	evc_code	rc;
} Trial;

static void
read_trial(Trial *t, bytea *kvid, const char *root_key)
{
	KeyRow		key;
	ListCell   *lc;

	if (VARSIZE_ANY_EXHDR(kvid) != EVC_KVID_BYTES ||
		!envcrypt_read_version((const uint8 *) VARDATA_ANY(kvid), &t->version) ||
		!envcrypt_read_key(t->version.key, &key))
		return;
	strlcpy(t->label, key.label, sizeof(t->label));
	t->root_key = root_key;
	foreach(lc, envcrypt_read_wraps(t->version.kvid))
	{
		WrapRow    *w = lfirst(lc);

		if (strcmp(w->root_key, root_key) == 0)
			t->wrapped = w->wrapped;
	}
}

/* Open the wrap and hold the secret to its commitment.  Raises nothing. */
static void
try_wrap(const evc_keyfile *kf, Trial *t)
{
	evc_binding b = evc_binding_of(t->version.algorithm, t->version.kvid, t->label);
	evc_key		secret;

	if (t->wrapped == NULL)
		return;
	t->rc = evc_local_secret(kf, t->root_key, &b, (const uint8 *) VARDATA_ANY(t->wrapped),
							 VARSIZE_ANY_EXHDR(t->wrapped), t->version.commitment, &secret, &t->err);
	if (t->rc == EVC_OK)
		evc_wipe(&secret, sizeof(secret));
}

static Trial *
read_trials(ArrayType *kvids, ArrayType *root_keys, int *n)
{
	Datum	   *ids;
	Datum	   *roots;
	int			nroots;
	Trial	   *trials;

	deconstruct_array(kvids, BYTEAOID, -1, false, TYPALIGN_INT, &ids, NULL, n);
	deconstruct_array(root_keys, TEXTOID, -1, false, TYPALIGN_INT, &roots, NULL, &nroots);
	if (nroots != *n)
		elog(ERROR, "arrays of wraps differ in length");
	trials = palloc0(sizeof(Trial) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_trial(&trials[i], DatumGetByteaPP(ids[i]), TextDatumGetCString(roots[i]));
	}
	return trials;
}

/*
 * Of each wrap, named by kvid and root key, why it does not open, or NULL when
 * it does.  The key file is read once for all.
 */
Datum
envcrypt_wrap_problems(PG_FUNCTION_ARGS)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;
	int			n;
	Trial	   *trials = read_trials(PG_GETARG_ARRAYTYPE_P(0), PG_GETARG_ARRAYTYPE_P(1), &n);
	Datum	   *problems = palloc0(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	evc_code	rc = envcrypt_local_open(&kf, &err);
	int			lower = 1;

	if (rc == EVC_OK)
	{
		for (int i = 0; i < n; i++)
			try_wrap(kf, &trials[i]);
		evc_keyfile_free(kf);
	}
	for (int i = 0; i < n; i++)
	{
		const evc_err *e = rc != EVC_OK ? &err : &trials[i].err;

		nulls[i] = rc == EVC_OK && trials[i].rc == EVC_OK;
		if (!nulls[i])
			problems[i] = CStringGetTextDatum(e->msg);
	}
	PG_RETURN_ARRAYTYPE_P(construct_md_array(problems, nulls, 1, &n, &lower,
											 TEXTOID, -1, false, TYPALIGN_INT));
}

/* ---------- what people say ---------- */

static const char *
copy_action(FunctionCallInfo fcinfo)
{
	char	   *what = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (strcmp(what, "key_file") == 0)
		return "key_file_copied";
	if (strcmp(what, "export") == 0)
		return "export_copied";
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized thing that was copied"),
			 errhint("What can be copied is key_file and export."),
			 errquiet()));
}

Datum
envcrypt_note_copy(PG_FUNCTION_ARGS)
{
	const char *action = copy_action(fcinfo);
	char	   *place = PG_ARGISNULL(1) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	StringInfoData buf;

	if (place[0] == '\0' || strlen(place) > MAX_PLACE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("place of a copy must have 1 to %d bytes", MAX_PLACE_BYTES),
				 errhint("Say where the copy is, for whoever needs it one day."),
				 errquiet()));
	PreventCommandDuringRecovery("note_copy()");
	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"place\":");
	escape_json(&buf, place);
	appendStringInfoChar(&buf, '}');
	envcrypt_audit(action, "", buf.data);
	PG_RETURN_VOID();
}
