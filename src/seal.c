/*
 * seal.c
 *	  encrypt(), encrypt_bound(), encrypt_bytea() and search_terms().
 *
 * A NULL value is NULL first of all, whatever the key.  The result is
 * allocated at its final size and sealed in place.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "envcrypt.h"
#include "keycache.h"
#include "seal.h"
#include "typed.h"

PG_FUNCTION_INFO_V1(envcrypt_encrypt);
PG_FUNCTION_INFO_V1(envcrypt_encrypt_bound);
PG_FUNCTION_INFO_V1(envcrypt_encrypt_typed);
PG_FUNCTION_INFO_V1(envcrypt_encrypt_bound_typed);
PG_FUNCTION_INFO_V1(envcrypt_encrypt_bytea);
PG_FUNCTION_INFO_V1(envcrypt_encrypt_bytea_bound);
PG_FUNCTION_INFO_V1(envcrypt_search_terms);
PG_FUNCTION_INFO_V1(envcrypt_search_terms_bound);

/*
 * Seal with a version that is ready.  Nothing here touches the catalog, so the
 * version stays good.
 */
static bytea *
seal_with(CachedVersion *v, evc_bytes plaintext, const evc_bytes *context)
{
	uint8		suite = evc_algorithm_seals(v->row.algorithm);
	size_t		size = VARHDRSZ + plaintext.len + evc_suite_overhead(suite);
	evc_err		err = EVC_ERR_INIT;
	bytea	   *result;

	if (suite == EVC_SUITE_XAES && RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot seal randomized values on a standby"),
				 errhint("Seal on the primary; a standby opens values and makes search terms."),
				 errquiet()));
	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sealed value would be larger than 1 GB"),
				 errquiet()));
	result = palloc(size);
	if (evc_seal(&v->version, compat_lxid(), plaintext.data, plaintext.len, context,
				 (uint8 *) VARDATA(result), &err) != EVC_OK)
		envcrypt_throw(&err);
	SET_VARSIZE(result, size);
	return result;
}

bytea *
envcrypt_seal(const char *key, size_t keylen, evc_bytes plaintext, const evc_bytes *context)
{
	return seal_with(envcrypt_cache_for_seal(key, keylen, plaintext), plaintext, context);
}

static text *
key_arg(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key must not be null"),
				 errquiet()));
	return PG_GETARG_TEXT_PP(n);
}

/* The context in argument n, in UTF-8. */
static evc_bytes
context_arg(FunctionCallInfo fcinfo, int n)
{
	text	   *t = PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n);

	if (t == NULL || VARSIZE_ANY_EXHDR(t) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("context must not be null or empty"),
				 errhint("Leave the argument out to bind no context."),
				 errquiet()));
	return envcrypt_text_to_utf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/* Seal with the key and, where there is a third argument, the context given. */
static Datum
seal_args(FunctionCallInfo fcinfo, evc_bytes plaintext)
{
	text	   *key = key_arg(fcinfo, 1);
	bool		bound = PG_NARGS() > 2;
	evc_bytes	context;

	if (bound)
		context = context_arg(fcinfo, 2);
	PG_RETURN_BYTEA_P(envcrypt_seal(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key),
									plaintext, bound ? &context : NULL));
}

Datum
envcrypt_encrypt(PG_FUNCTION_ARGS)
{
	text	   *t;
	Datum		result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	t = PG_GETARG_TEXT_PP(0);
	result = seal_args(fcinfo, envcrypt_text_to_utf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)));
	PG_FREE_IF_COPY(t, 0);
	return result;
}

Datum
envcrypt_encrypt_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_encrypt(fcinfo);
}

Datum
envcrypt_encrypt_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *b;
	Datum		result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	b = PG_GETARG_BYTEA_PP(0);
	result = seal_args(fcinfo, (evc_bytes) {(uint8 *) VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b)});
	PG_FREE_IF_COPY(b, 0);
	return result;
}

Datum
envcrypt_encrypt_bytea_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_encrypt_bytea(fcinfo);
}

Datum
envcrypt_encrypt_typed(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	char	   *str;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of the value");
	envcrypt_refuse_type(type);
	str = envcrypt_typed_output(fcinfo->flinfo, type, PG_GETARG_DATUM(0));
	return seal_args(fcinfo, envcrypt_text_to_utf8(str, strlen(str)));
}

Datum
envcrypt_encrypt_bound_typed(PG_FUNCTION_ARGS)
{
	return envcrypt_encrypt_typed(fcinfo);
}

/* The versions a stored value may be sealed with; a disabled one raises later. */
static List *
live_versions(const char *key)
{
	List	   *live = NIL;
	ListCell   *lc;

	foreach(lc, envcrypt_read_versions(key))
	{
		VersionRow *row = lfirst(lc);

		if (row->state != VERSION_DESTROYED)
			live = lappend(live, row);
	}
	return live;
}

static ArrayType *
terms(const char *key, evc_bytes plaintext, const evc_bytes *context)
{
	List	   *live = live_versions(key);
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(live), 1));
	ListCell   *lc;

	foreach(lc, live)
	{
		VersionRow *row = lfirst(lc);

		elems[foreach_current_index(lc)] =
			PointerGetDatum(seal_with(envcrypt_cache_for_search(row->kvid), plaintext, context));
	}
	return construct_array(elems, list_length(live), envcrypt_type_oid(), -1, false, TYPALIGN_INT);
}

Datum
envcrypt_search_terms(PG_FUNCTION_ARGS)
{
	text	   *t;
	char	   *key;
	KeyRow		row;
	bool		bound = PG_NARGS() > 2;
	evc_bytes	context;
	evc_bytes	plaintext;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	t = PG_GETARG_TEXT_PP(0);
	key = text_to_cstring(key_arg(fcinfo, 1));
	if (bound)
		context = context_arg(fcinfo, 2);
	if (!envcrypt_find_key(key, strlen(key), &row))
		envcrypt_refuse_unknown_key(key, (evc_bytes) {(uint8_t *) VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)});
	if (evc_algorithm_seals(row.algorithm) == EVC_SUITE_XAES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" cannot be searched with", key),
				 errhint("Equal values can be found when they are sealed with an aes-256-siv key."),
				 errquiet()));
	plaintext = envcrypt_text_to_utf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
	PG_RETURN_ARRAYTYPE_P(terms(key, plaintext, bound ? &context : NULL));
}

Datum
envcrypt_search_terms_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_search_terms(fcinfo);
}
