/*
 * keyexport.c
 *	  export_keyring(): keys as one JSON document, for a safe or another server.
 *
 * It holds what the key tables hold, which is no secret: with the root keys it
 * opens every value, without them none.  Left out are grants, which name roles
 * of this cluster, and who made a key, whose name may be in any encoding.
 * docs/keys.md has the format; keyimport.c and kms/keyring.c read it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "envcrypt.h"
#include "keytables.h"

PG_FUNCTION_INFO_V1(envcrypt_export_keyring);

#define EQ " OPERATOR(pg_catalog.=) "
#define TIME_OF(column) \
	"pg_catalog.to_char(pg_catalog.timezone('UTC', " column "), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
#define HEX_OF(column) "pg_catalog.encode(" column ", 'hex')"

/* An object of the members of a query, sorted; {} of none. */
#define OBJECT_OF(name, value, sort, from) \
	"(SELECT coalesce(pg_catalog.json_object_agg(" name ", pg_catalog.json_build_object(" value \
	") ORDER BY " sort "), '{}') FROM " from ")"

#define WRAPS \
	OBJECT_OF("w.root_key", \
			  "'wrapped', " HEX_OF("w.wrapped") ", 'verified_at', " TIME_OF("w.verified_at"), \
			  "w.root_key", "envcrypt.key_wrap w WHERE w.kvid" EQ "v.kvid")

#define VERSIONS \
	OBJECT_OF(HEX_OF("v.kvid"), \
			  "'number', v.number, 'state', v.state, 'compromised', v.compromised," \
			  " 'commitment', " HEX_OF("v.commitment") ", 'options', v.options," \
			  " 'origin', " HEX_OF("v.origin") "," \
			  " 'created_at', " TIME_OF("v.created_at") ", 'changed_at', " TIME_OF("v.changed_at") "," \
			  " 'wraps', " WRAPS, \
			  "v.number", "envcrypt.key_version v WHERE v.key" EQ "k.name")

#define KEYS \
	OBJECT_OF("k.name", \
			  "'label', k.label, 'algorithm', k.algorithm, 'enabled', k.enabled," \
			  " 'root_keys', k.root_keys, 'created_at', " TIME_OF("k.created_at") "," \
			  " 'versions', " VERSIONS, \
			  "k.name", "envcrypt.key k WHERE k.name" EQ "ANY ($1)")

static const char export_query[] =
"SELECT pg_catalog.json_build_object('format', 'envcrypt-keyring', 'version', 1,"
" 'exported_at', " TIME_OF("pg_catalog.clock_timestamp()") ", 'keys', " KEYS ")";

/* All keys of the database. */
static List *
all_keys(void)
{
	WriteArgs	none = {0};
	Datum		array = envcrypt_query("SELECT ARRAY(SELECT name FROM envcrypt.key"
									   " ORDER BY name)::pg_catalog.text[]", &none);
	List	   *names = NIL;
	Datum	   *elems;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		names = lappend(names, TextDatumGetCString(elems[i]));
	return names;
}

static void
require_manage(const char *name, size_t len)
{
	KeyRow		row;

	if (!evc_name_valid(name, len) || !envcrypt_read_key(name, &row))
		envcrypt_throw_unknown_key(name, len);
	if ((envcrypt_read_privileges(&row, GetUserId()) & KEY_PRIV_MANAGE) == 0)
		envcrypt_throw_denied(row.name, KEY_PRIV_MANAGE);
}

/*
 * When a key was last exported can be asked of the audit.  On a standby, and
 * in a read-only transaction, the export is given without a note.
 */
static void
note_export(List *names)
{
	ListCell   *lc;

	if (XactReadOnly)
		return;
	foreach(lc, names)
		envcrypt_audit("export_keyring", lfirst(lc), "{}");
}

Datum
envcrypt_export_keyring(PG_FUNCTION_ARGS)
{
	WriteArgs	args = {0};
	List	   *names;
	ListCell   *lc;
	Datum		result;

	if (PG_ARGISNULL(0))
		names = all_keys();
	else
		names = list_make1(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	foreach(lc, names)
		require_manage(lfirst(lc), strlen(lfirst(lc)));
	envcrypt_arg_names(&args, names);
	result = envcrypt_query(export_query, &args);
	note_export(names);
	PG_RETURN_DATUM(result);
}
