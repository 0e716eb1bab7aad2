/*
 * open.c
 *	  decrypt(), decrypt_bytea(), decrypt_as() and try_decrypt().
 *
 * The order in which errors are found is part of the interface
 * (docs/sql-reference.md): form, suite built, context present or absent, kvid,
 * privilege, suite against algorithm, state, secret, tag, text.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "envcrypt.h"
#include "guc.h"
#include "keycache.h"
#include "seal.h"
#include "typed.h"

PG_FUNCTION_INFO_V1(envcrypt_decrypt);
PG_FUNCTION_INFO_V1(envcrypt_decrypt_bound);
PG_FUNCTION_INFO_V1(envcrypt_decrypt_bytea);
PG_FUNCTION_INFO_V1(envcrypt_decrypt_bytea_bound);
PG_FUNCTION_INFO_V1(envcrypt_decrypt_as);
PG_FUNCTION_INFO_V1(envcrypt_decrypt_as_bound);
PG_FUNCTION_INFO_V1(envcrypt_try_decrypt);
PG_FUNCTION_INFO_V1(envcrypt_try_decrypt_bound);

/*
 * ANALYZE, index builds and refreshes run expressions in a security-restricted
 * operation and store what they compute: as statistics, keys or rows in clear.
 */
static void
refuse_maintenance(void)
{
	if (InSecurityRestrictedOperation() && !envcrypt_allow_maintenance_decrypt)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot decrypt within a security-restricted operation"),
				 errdetail("ANALYZE, index builds and materialized views would store the value in clear."),
				 errhint("To allow it, a superuser can set envcrypt.allow_maintenance_decrypt."),
				 errquiet()));
}

bytea *
envcrypt_open(bytea *value, const evc_bytes *context, bool may_miss)
{
	evc_err		err = EVC_ERR_INIT;
	evc_envelope env;
	evc_code	rc;
	CachedVersion *v;
	bytea	   *result;
	size_t		len;

	refuse_maintenance();
	rc = evc_envelope_parse((const uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &env, &err);
	if (rc == EVC_MALFORMED && may_miss)
		return NULL;
	if (rc == EVC_OK)
		rc = evc_open_precheck(&env, context, &err);
	if (rc != EVC_OK)
		envcrypt_throw(&err);
	v = envcrypt_cache_for_open(&env, may_miss);
	if (v == NULL)
		return NULL;
	result = palloc(VARHDRSZ + evc_envelope_plaintext_len(&env));
	rc = evc_open(&v->version, &env, context, (uint8 *) VARDATA(result), &len, &err);
	if (rc == EVC_AUTH_FAILED && may_miss)
		return NULL;
	if (rc != EVC_OK)
		envcrypt_throw(&err);
	SET_VARSIZE(result, VARHDRSZ + len);
	return result;
}

/*
 * The context in argument n.  NULL and '' come out empty and are refused in
 * their turn, after the form of the value.
 */
static evc_bytes
context_given(FunctionCallInfo fcinfo, int n)
{
	text	   *t;

	if (PG_ARGISNULL(n))
		return (evc_bytes) {NULL, 0};
	t = PG_GETARG_TEXT_PP(n);
	return envcrypt_text_to_utf8(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

/*
 * Open the first argument, which is not NULL, with the context in argument n
 * where the function has that many.
 */
static bytea *
open_args(FunctionCallInfo fcinfo, int n, bool may_miss)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	bool		bound = PG_NARGS() > n;
	evc_bytes	context;
	bytea	   *result;

	if (bound)
		context = context_given(fcinfo, n);
	result = envcrypt_open(value, bound ? &context : NULL, may_miss);
	PG_FREE_IF_COPY(value, 0);
	return result;
}

Datum
envcrypt_decrypt(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(envcrypt_text_from_utf8(open_args(fcinfo, 1, false)));
}

Datum
envcrypt_decrypt_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_decrypt(fcinfo);
}

Datum
envcrypt_decrypt_bytea(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(open_args(fcinfo, 1, false));
}

Datum
envcrypt_decrypt_bytea_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_decrypt_bytea(fcinfo);
}

Datum
envcrypt_decrypt_as(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_rettype(fcinfo->flinfo);
	char	   *str;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of the result");
	envcrypt_refuse_type(type);
	str = text_to_cstring(envcrypt_text_from_utf8(open_args(fcinfo, 2, false)));
	return envcrypt_typed_input(fcinfo->flinfo, type, str);
}

Datum
envcrypt_decrypt_as_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_decrypt_as(fcinfo);
}

Datum
envcrypt_try_decrypt(PG_FUNCTION_ARGS)
{
	bytea	   *opened;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	opened = open_args(fcinfo, 1, true);
	if (opened == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(envcrypt_text_from_utf8(opened));
}

Datum
envcrypt_try_decrypt_bound(PG_FUNCTION_ARGS)
{
	return envcrypt_try_decrypt(fcinfo);
}
