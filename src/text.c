/*
 * text.c
 *	  UTF-8 is what gets sealed, whatever the server encoding, so that a value
 *	  opens in a database of another encoding.
 *
 * Conversions are the non-throwing ones: the throwing ones print bytes of what
 * they could not convert.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "envcrypt.h"

static void
refuse(const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
			 errmsg("value is not text that this database's encoding can represent"),
			 hint ? errhint("%s", hint) : 0,
			 errquiet()));
}

/* Convert all of src, or return NULL. */
static char *
convert(const char *src, size_t len, int from, int to, size_t *outlen)
{
	Oid			proc = FindDefaultConversionProc(from, to);
	size_t		cap = len * MAX_CONVERSION_GROWTH + 1;
	char	   *out;

	if (!OidIsValid(proc))
		return NULL;
	if (!AllocSizeIsValid(cap))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too long to convert to or from UTF-8"),
				 errquiet()));
	out = palloc(cap);
	if (pg_do_encoding_conversion_buf(proc, from, to, (unsigned char *) unconstify(char *, src),
									  len, (unsigned char *) out, cap, true) != (int) len)
	{
		evc_wipe(out, cap);
		pfree(out);
		return NULL;
	}
	*outlen = strlen(out);
	return out;
}

evc_bytes
envcrypt_text_to_utf8(const char *s, size_t len)
{
	int			enc = GetDatabaseEncoding();
	evc_bytes	utf8 = {(const uint8 *) s, len};
	char	   *out;

	if (enc == PG_UTF8 || len == 0)
		return utf8;
	if (enc == PG_SQL_ASCII)
	{
		if (!pg_verify_mbstr(PG_UTF8, s, len, true))
			refuse("A SQL_ASCII database seals text that is valid UTF-8; use encrypt_bytea() for other bytes.");
		return utf8;
	}
	out = convert(s, len, enc, PG_UTF8, &utf8.len);
	if (out == NULL)
		refuse("Use encrypt_bytea() for bytes that are not text.");
	utf8.data = (const uint8 *) out;
	return utf8;
}

/*
 * The text in the server encoding: the same chunk when nothing had to change,
 * NULL when it cannot be represented.
 */
static text *
from_utf8(text *utf8)
{
	int			enc = GetDatabaseEncoding();
	const char *s = VARDATA(utf8);
	size_t		len = VARSIZE(utf8) - VARHDRSZ;
	size_t		outlen;
	char	   *out;
	text	   *result;

	if (!pg_verify_mbstr(PG_UTF8, s, len, true))
		return NULL;
	if (enc == PG_UTF8 || enc == PG_SQL_ASCII || len == 0)
		return utf8;
	out = convert(s, len, PG_UTF8, enc, &outlen);
	if (out == NULL)
		return NULL;
	result = cstring_to_text_with_len(out, outlen);
	evc_wipe(out, outlen);
	pfree(out);
	return result;
}

text *
envcrypt_text_from_utf8(text *utf8)
{
	text	   *result = from_utf8(utf8);

	if (result == NULL)
		refuse("decrypt_bytea() returns the bytes as they are.");
	return result;
}
