/*
 * enc_bytea.c
 *	  The type enc_bytea: input, output, modifier, comparison and hash.
 *
 * A value is the bytes of a well-formed envelope.  Nothing here looks at the
 * catalog or at a key: a restore loads tables before keys, and comparison may
 * be called by any plan, VACUUM or index build.  So comparison and hash are
 * those of bytea, total and never raising.
 *
 * What was refused is never shown: it may be a plaintext that somebody tried
 * to store without sealing it.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "core/envelope.h"
#include "enc_bytea.h"
#include "envcrypt.h"

PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_in);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_out);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_recv);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_send);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_typmod_in);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_typmod_out);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_coerce);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_from_bytea);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_eq);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_ne);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_lt);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_le);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_gt);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_ge);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_cmp);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_hash);
PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_hash_extended);

/* Magic and suite. */
#define SUITE_PREFIX_BYTES 2

uint8
envcrypt_datum_suite(Datum value)
{
	struct varlena *v = (struct varlena *) DatumGetPointer(value);
	struct varlena *prefix = v;
	uint8		suite;

	/* not VARATT_IS_SHORT, which is true of pointers out of line as well */
	if (VARATT_IS_EXTERNAL(v) || VARATT_IS_COMPRESSED(v))
		prefix = detoast_attr_slice(v, 0, SUITE_PREFIX_BYTES);
	suite = ((uint8 *) VARDATA_ANY(prefix))[1];
	if (prefix != v)
		pfree(prefix);
	return suite;
}

void
envcrypt_check_typmod(uint8 suite, int32 typmod)
{
	if (typmod != ENC_BYTEA_DETERMINISTIC || suite == EVC_SUITE_SIV)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("randomized value in an enc_bytea(deterministic) column"),
			 errhint("Seal values of this column with a key of algorithm aes-256-siv."),
			 errquiet()));
}

/* Raise unless the bytes are an envelope the modifier allows. */
static void
check_envelope(const void *bytes, size_t len, int32 typmod)
{
	evc_envelope env;
	evc_err		err = EVC_ERR_INIT;

	if (evc_envelope_parse(bytes, len, &env, &err) != EVC_OK)
		envcrypt_throw(&err);
	envcrypt_check_typmod(env.suite, typmod);
}

Datum
envcrypt_enc_bytea_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	int32		typmod = PG_GETARG_INT32(2);
	size_t		len = strlen(text);
	size_t		cap = len / 2;
	size_t		outlen = 0;
	bytea	   *result = palloc(VARHDRSZ + cap);
	evc_err		err = EVC_ERR_INIT;

	if (evc_envelope_from_text(text, len, (uint8 *) VARDATA(result), cap,
							   &outlen, &err) != EVC_OK)
		envcrypt_throw(&err);
	SET_VARSIZE(result, VARHDRSZ + outlen);
	envcrypt_check_typmod(((uint8 *) VARDATA(result))[1], typmod);
	PG_RETURN_BYTEA_P(result);
}

Datum
envcrypt_enc_bytea_out(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	size_t		len = VARSIZE_ANY_EXHDR(value);
	char	   *result;

	if (len > (MaxAllocSize - 3) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too long for text output"),
				 errhint("Read it in binary format or cast it to bytea."),
				 errquiet()));
	result = palloc(len * 2 + 3);
	result[0] = '\\';
	result[1] = 'x';
	(void) hex_encode(VARDATA_ANY(value), len, result + 2);
	result[len * 2 + 2] = '\0';
	PG_RETURN_CSTRING(result);
}

Datum
envcrypt_enc_bytea_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	int32		typmod = PG_GETARG_INT32(2);
	int			len = buf->len - buf->cursor;
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	pq_copymsgbytes(buf, VARDATA(result), len);
	check_envelope(VARDATA(result), len, typmod);
	PG_RETURN_BYTEA_P(result);
}

Datum
envcrypt_enc_bytea_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(PG_GETARG_BYTEA_P_COPY(0));
}

Datum
envcrypt_enc_bytea_typmod_in(PG_FUNCTION_ARGS)
{
	Datum	   *mods;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), CSTRINGOID, -2, false,
					  TYPALIGN_CHAR, &mods, NULL, &n);
	if (n != 1 || pg_strcasecmp(DatumGetCString(mods[0]), "deterministic") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid type modifier for enc_bytea"),
				 errhint("The only modifier is enc_bytea(deterministic)."),
				 errquiet()));
	PG_RETURN_INT32(ENC_BYTEA_DETERMINISTIC);
}

Datum
envcrypt_enc_bytea_typmod_out(PG_FUNCTION_ARGS)
{
	int32		typmod = PG_GETARG_INT32(0);

	PG_RETURN_CSTRING(pstrdup(typmod == ENC_BYTEA_DETERMINISTIC ? "(deterministic)" : ""));
}

/* The cast that applies the modifier, in assignments and explicit casts alike. */
Datum
envcrypt_enc_bytea_coerce(PG_FUNCTION_ARGS)
{
	Datum		value = PG_GETARG_DATUM(0);
	int32		typmod = PG_GETARG_INT32(1);

	if (typmod == ENC_BYTEA_DETERMINISTIC)
		envcrypt_check_typmod(envcrypt_datum_suite(value), typmod);
	PG_RETURN_DATUM(value);
}

Datum
envcrypt_enc_bytea_from_bytea(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);

	check_envelope(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), -1);
	PG_RETURN_BYTEA_P(value);
}

/* Order of two values: that of their bytes, the shorter first on a tie. */
static int
compare(FunctionCallInfo fcinfo)
{
	bytea	   *a = PG_GETARG_BYTEA_PP(0);
	bytea	   *b = PG_GETARG_BYTEA_PP(1);
	size_t		alen = VARSIZE_ANY_EXHDR(a);
	size_t		blen = VARSIZE_ANY_EXHDR(b);
	int			cmp = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(alen, blen));

	if (cmp == 0 && alen != blen)
		cmp = alen < blen ? -1 : 1;
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return cmp;
}

/* Values of different lengths are told apart without being fetched. */
static bool
same_bytes(FunctionCallInfo fcinfo)
{
	Datum		a = PG_GETARG_DATUM(0);
	Datum		b = PG_GETARG_DATUM(1);

	return toast_raw_datum_size(a) == toast_raw_datum_size(b) && compare(fcinfo) == 0;
}

Datum
envcrypt_enc_bytea_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(same_bytes(fcinfo));
}

Datum
envcrypt_enc_bytea_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!same_bytes(fcinfo));
}

Datum
envcrypt_enc_bytea_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

Datum
envcrypt_enc_bytea_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

Datum
envcrypt_enc_bytea_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

Datum
envcrypt_enc_bytea_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

Datum
envcrypt_enc_bytea_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

Datum
envcrypt_enc_bytea_hash(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	Datum		hash = hash_any((unsigned char *) VARDATA_ANY(value),
								VARSIZE_ANY_EXHDR(value));

	PG_FREE_IF_COPY(value, 0);
	PG_RETURN_DATUM(hash);
}

Datum
envcrypt_enc_bytea_hash_extended(PG_FUNCTION_ARGS)
{
	bytea	   *value = PG_GETARG_BYTEA_PP(0);
	Datum		hash = hash_any_extended((unsigned char *) VARDATA_ANY(value),
										 VARSIZE_ANY_EXHDR(value),
										 PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(value, 0);
	PG_RETURN_DATUM(hash);
}
