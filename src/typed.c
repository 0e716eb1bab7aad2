/*
 * typed.c
 *	  Values of any type as canonical text.
 *
 * A date sealed under DateStyle DMY must open under MDY: type output and input
 * run under fixed settings (docs/envelope.md, section 10), in a nest level
 * of their own so that nothing of the session changes, whatever happens.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "envcrypt.h"
#include "typed.h"

/*
 * search_path makes output of reg* types qualified and keeps strangers'
 * functions out of input; xmloption makes every xml value readable.
 */
static const char *const settings[][2] = {
	{"DateStyle", "ISO, YMD"},
	{"IntervalStyle", "iso_8601"},
	{"TimeZone", "UTC"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"lc_monetary", "C"},
	{"xmloption", "content"},
	{"search_path", "pg_catalog"}
};

typedef struct TypedCall
{
	Oid			type;
	bool		plain;			/* its text depends on no setting */
	Oid			ioparam;
	FmgrInfo	function;
} TypedCall;

static bool
is_plain(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
			return true;
		default:
			return false;
	}
}

/* The call's function, looked up once per query. */
static TypedCall *
prepare_call(FmgrInfo *caller, Oid type, bool input)
{
	TypedCall  *call = caller->fn_extra;
	Oid			proc;
	bool		varlena;

	if (call != NULL && call->type == type)
		return call;
	call = MemoryContextAllocZero(caller->fn_mcxt, sizeof(TypedCall));
	call->plain = is_plain(type);
	if (input)
		getTypeInputInfo(type, &proc, &call->ioparam);
	else
		getTypeOutputInfo(type, &proc, &varlena);
	fmgr_info_cxt(proc, &call->function, caller->fn_mcxt);
	call->type = type;
	caller->fn_extra = call;
	return call;
}

static int
enter_settings(const TypedCall *call)
{
	int			level = -1;

	if (call->plain)
		return level;
	level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static void
leave_settings(int level)
{
	if (level >= 0)
		AtEOXact_GUC(true, level);
}

/*
 * Re-raise as ours what a type's function raised: its message may quote the
 * value.  What says nothing of it passes as it is: cancellation, shutdown, lack
 * of resources, and what a caller retries.
 */
static void
rethrow(Oid type, MemoryContext cxt)
{
	int			category;

	MemoryContextSwitchTo(cxt);
	category = ERRCODE_TO_CATEGORY(geterrcode());
	if (category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_PROGRAM_LIMIT_EXCEEDED) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK))
		PG_RE_THROW();
	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("value is not a valid %s", format_type_be(type)),
			 errquiet()));
}

char *
envcrypt_typed_output(FmgrInfo *caller, Oid type, Datum value)
{
	TypedCall  *call = prepare_call(caller, type, false);
	MemoryContext cxt = CurrentMemoryContext;
	char	   *volatile str = NULL;
	int			level = enter_settings(call);

	PG_TRY();
	{
		str = OutputFunctionCall(&call->function, value);
	}
	PG_CATCH();
	{
		rethrow(type, cxt);
	}
	PG_END_TRY();
	leave_settings(level);
	return str;
}

Datum
envcrypt_typed_input(FmgrInfo *caller, Oid type, char *str)
{
	TypedCall  *call = prepare_call(caller, type, true);
	MemoryContext cxt = CurrentMemoryContext;
	volatile Datum value = (Datum) 0;
	int			level = enter_settings(call);

	PG_TRY();
	{
		value = InputFunctionCall(&call->function, str, call->ioparam, -1);
	}
	PG_CATCH();
	{
		rethrow(type, cxt);
	}
	PG_END_TRY();
	leave_settings(level);
	return value;
}

void
envcrypt_refuse_type(Oid type)
{
	Oid			base = getBaseType(type);
	const char *hint;

	if (base == BYTEAOID)
		hint = "encrypt_bytea() seals bytes and decrypt_bytea() opens them.";
	else if (base == envcrypt_type_oid())
		hint = "The value is already sealed.";
	else if (get_typtype(base) == TYPTYPE_PSEUDO)
		hint = "Cast the value to the type it is to have.";
	else
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("values of type %s cannot be sealed or opened as typed values", format_type_be(type)),
			 errhint("%s", hint),
			 errquiet()));
}
