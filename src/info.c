/*
 * info.c
 *	  enc_context() and enc_info(): what can be said without a key.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "catalog.h"
#include "envcrypt.h"
#include "typed.h"

PG_FUNCTION_INFO_V1(envcrypt_enc_context);
PG_FUNCTION_INFO_V1(envcrypt_enc_context_any);
PG_FUNCTION_INFO_V1(envcrypt_enc_info);

static void
append_counted(StringInfo buf, size_t count, const char *part, size_t len)
{
	appendStringInfo(buf, "%zu:", count);
	appendBinaryStringInfo(buf, part, len);
	appendStringInfoChar(buf, ',');
}

void
envcrypt_context_append(StringInfo buf, const char *part, size_t len)
{
	append_counted(buf, len, part, len);
}

static void
refuse_parts(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parts of a context must not be null or missing"),
			 errquiet()));
}

/*
 * Each part's length in bytes of UTF-8, a colon, the part, a comma, so that no
 * two lists of parts give the same.  The result is in the server encoding: the
 * part stays as it is and only the length is that of UTF-8.
 */
static void
append_part(StringInfo buf, const char *part, size_t len)
{
	append_counted(buf, envcrypt_text_to_utf8(part, len).len, part, len);
}

Datum
envcrypt_enc_context(PG_FUNCTION_ARGS)
{
	Datum	   *parts;
	bool	   *nulls;
	int			n;
	StringInfoData buf;

	if (PG_ARGISNULL(0))
		refuse_parts();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &parts, &nulls, &n);
	if (n == 0)
		refuse_parts();
	initStringInfo(&buf);
	for (int i = 0; i < n; i++)
	{
		text	   *t;

		if (nulls[i])
			refuse_parts();
		t = DatumGetTextPP(parts[i]);
		append_part(&buf, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

/* A place for each argument's output function, for the life of the query. */
static FmgrInfo *
output_calls(FmgrInfo *flinfo, int n)
{
	if (flinfo->fn_extra == NULL)
	{
		FmgrInfo   *calls = MemoryContextAllocZero(flinfo->fn_mcxt, n * sizeof(FmgrInfo));

		for (int i = 0; i < n; i++)
			calls[i].fn_mcxt = flinfo->fn_mcxt;
		flinfo->fn_extra = calls;
	}
	return flinfo->fn_extra;
}

/* Text as it is, char(n) without its padding, anything else as when sealed. */
static void
append_value(StringInfo buf, FmgrInfo *call, Oid type, Datum value)
{
	char	   *s;

	if (type == TEXTOID || type == VARCHAROID || type == BPCHAROID)
	{
		text	   *t = DatumGetTextPP(value);
		size_t		len = VARSIZE_ANY_EXHDR(t);

		if (type == BPCHAROID)
			len = bpchartruelen(VARDATA_ANY(t), len);
		append_part(buf, VARDATA_ANY(t), len);
		return;
	}
	s = type == UNKNOWNOID ? DatumGetCString(value) : envcrypt_typed_output(call, type, value);
	append_part(buf, s, strlen(s));
}

/* enc_context() of values that are not all text: what encrypt_trigger() binds. */
Datum
envcrypt_enc_context_any(PG_FUNCTION_ARGS)
{
	FmgrInfo   *calls = output_calls(fcinfo->flinfo, PG_NARGS());
	StringInfoData buf;

	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an array of parts of a context must be text[]"),
				 errquiet()));
	initStringInfo(&buf);
	for (int i = 0; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i))
			refuse_parts();
		append_value(&buf, &calls[i], getBaseType(get_fn_expr_argtype(fcinfo->flinfo, i)),
					 PG_GETARG_DATUM(i));
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

/* What the catalog says of the version, if it has it. */
static void
describe_version(const evc_envelope *env, Datum *values, bool *nulls)
{
	VersionRow	row;
	KeyRow		key;
	bool		known = envcrypt_read_version(env->kvid, &row) && envcrypt_read_key(row.key, &key);

	nulls[0] = nulls[1] = nulls[2] = !known;
	if (!known)
		return;
	values[0] = CStringGetTextDatum(row.key);
	values[1] = Int32GetDatum(row.number);
	values[2] = CStringGetTextDatum(envcrypt_state_name(key.enabled ? row.state : VERSION_DISABLED));
}

static const char *
suite_name(uint8 suite)
{
	switch (suite)
	{
		case EVC_SUITE_XAES:
			return "xaes-256-gcm";
		case EVC_SUITE_KC_XAES:
			return "kc-xaes-256-gcm";
		case EVC_SUITE_SIV:
			return "aes-256-siv";
		case EVC_SUITE_XAES_CHUNKED:
			return "xaes-256-gcm chunked";
		case EVC_SUITE_GCM:
			return "aes-256-gcm";
	}
	return "unknown";
}

Datum
envcrypt_enc_info(PG_FUNCTION_ARGS)
{
	Datum		values[6] = {0};
	bool		nulls[6] = {false};
	evc_err		err = EVC_ERR_INIT;
	evc_envelope env;
	TupleDesc	desc;
	bytea	   *value;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	value = PG_GETARG_BYTEA_PP(0);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (evc_envelope_parse((const uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &env, &err) != EVC_OK)
		envcrypt_throw(&err);
	describe_version(&env, values, nulls);
	values[3] = CStringGetTextDatum(suite_name(env.suite));
	values[4] = BoolGetDatum((env.flags & EVC_FLAG_CONTEXT) != 0);
	nulls[5] = (env.flags & EVC_FLAG_PADDED) != 0;
	if (!nulls[5])
		values[5] = Int64GetDatum((int64) evc_envelope_plaintext_len(&env));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
