/*
 * encrypt_trigger.c
 *	  encrypt_trigger(): seals a plaintext column into an enc_bytea column.
 *
 *	CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customer FOR EACH ROW
 *	EXECUTE FUNCTION envcrypt.encrypt_trigger('last_name_plain', 'last_name',
 *		'pii', '=customer.last_name', 'customer_id');
 *
 * Arguments: plaintext column, envelope column, key, and parts of a context: a
 * column's name, or "=" and a literal.  The context is what enc_context() makes
 * of the parts, a column being there as its canonical text.
 *
 * A plaintext that is not NULL is sealed and replaced by NULL.  When an UPDATE
 * changes a context column and leaves the envelope alone, the value is sealed
 * again under the new context, which takes the privilege to decrypt: under the
 * old one nobody would find it again.
 *
 * Things to know: a later BEFORE trigger (they fire in order of name) that
 * changes a context column goes unseen.  Generated columns have no value yet
 * when BEFORE triggers run, so they cannot be named here; those computed from
 * the plaintext column see NULL.  An UPDATE OF list without the plaintext and
 * the context columns is refused.  INSERT .. ON CONFLICT seals before it finds
 * the conflict, so context columns should be those of the conflict's key.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "core/envelope.h"
#include "enc_bytea.h"
#include "envcrypt.h"
#include "seal.h"
#include "typed.h"

PG_FUNCTION_INFO_V1(envcrypt_encrypt_trigger);

typedef struct Column
{
	const char *name;
	int			attnum;
	Oid			type;			/* below domains */
	bool		byval;
	int16		len;
	FmgrInfo	output;			/* keeps the type's output function */
} Column;

typedef struct Part
{
	const char *literal;		/* NULL for a column */
	Column		column;
} Part;

/* What the arguments mean for this table: worked out once per statement. */
typedef struct SealPlan
{
	Column		plain;
	Column		envelope;
	int32		typmod;			/* of the envelope column */
	const char *key;
	int			nparts;
	Part		parts[FLEXIBLE_ARRAY_MEMBER];
} SealPlan;

/* Text or bytes of a value; a copy is ours to wipe. */
typedef struct Plaintext
{
	evc_bytes	bytes;
	bool		copy;
} Plaintext;

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	TriggerData *td = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(td->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(td->tg_event) ||
		!(TRIGGER_FIRED_BY_INSERT(td->tg_event) || TRIGGER_FIRED_BY_UPDATE(td->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("encrypt_trigger() must be a trigger BEFORE INSERT OR UPDATE, FOR EACH ROW"),
				 errquiet()));
	return td;
}

/* ---------- the plan ---------- */

static void
refuse_definition(int sqlstate, const char *fmt, const char *column, const char *hint)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg_internal(fmt, column),
			 hint ? errhint("%s", hint) : 0,
			 errquiet()));
}

static void
find_column(Column *col, TriggerData *td, FmgrInfo *flinfo, const char *name, const char *hint)
{
	TupleDesc	desc = RelationGetDescr(td->tg_relation);
	Form_pg_attribute att;

	col->name = name;
	col->attnum = SPI_fnumber(desc, name);
	if (col->attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\" for encrypt_trigger() to use",
						RelationGetRelationName(td->tg_relation), name),
				 errhint("%s", hint),
				 errquiet()));
	att = TupleDescAttr(desc, col->attnum - 1);
	if (att->attgenerated != '\0')
		refuse_definition(ERRCODE_INVALID_OBJECT_DEFINITION,
						  "encrypt_trigger() cannot use generated column \"%s\"", name,
						  "Generated columns are computed after BEFORE triggers.");
	col->type = getBaseType(att->atttypid);
	col->byval = att->attbyval;
	col->len = att->attlen;
	col->output.fn_mcxt = flinfo->fn_mcxt;
}

/* An UPDATE OF list that leaves the column out would leave values behind. */
static void
check_fires_for(const Column *col, const Trigger *trigger)
{
	for (int i = 0; i < trigger->tgnattr; i++)
		if (trigger->tgattr[i] == col->attnum)
			return;
	if (trigger->tgnattr > 0)
		refuse_definition(ERRCODE_INVALID_OBJECT_DEFINITION,
						  "trigger must fire on updates of column \"%s\"", col->name,
						  "Leave out the trigger's UPDATE OF list.");
}

static void
plan_part(Part *part, const SealPlan *plan, TriggerData *td, FmgrInfo *flinfo, const char *arg)
{
	if (arg[0] == '=')
	{
		part->literal = arg + 1;
		return;
	}
	find_column(&part->column, td, flinfo, arg,
				"A part of a context is a column's name, or \"=\" and a literal: =text.");
	check_fires_for(&part->column, td->tg_trigger);
	if (part->column.attnum == plan->plain.attnum || part->column.attnum == plan->envelope.attnum)
		refuse_definition(ERRCODE_INVALID_PARAMETER_VALUE,
						  "column \"%s\" cannot be part of its own context", arg, NULL);
}

static void
plan_columns(SealPlan *plan, TriggerData *td, FmgrInfo *flinfo, char **args)
{
	const char *arguments_hint = "The arguments are a plaintext column, an envelope column, a key, and parts of a context.";
	Form_pg_attribute att;

	find_column(&plan->plain, td, flinfo, args[0], arguments_hint);
	check_fires_for(&plan->plain, td->tg_trigger);
	if (plan->plain.type != BYTEAOID)
		envcrypt_refuse_type(plan->plain.type);

	find_column(&plan->envelope, td, flinfo, args[1], arguments_hint);
	att = TupleDescAttr(RelationGetDescr(td->tg_relation), plan->envelope.attnum - 1);
	if (att->atttypid != envcrypt_type_oid())
		refuse_definition(ERRCODE_DATATYPE_MISMATCH, "column \"%s\" is not of type enc_bytea",
						  args[1], NULL);
	plan->typmod = att->atttypmod;
}

/* The arguments belong to the statement's copy of the trigger, as fn_extra does. */
static SealPlan *
get_plan(FmgrInfo *flinfo, TriggerData *td)
{
	char	  **args = td->tg_trigger->tgargs;
	int			nargs = td->tg_trigger->tgnargs;
	SealPlan	   *plan = flinfo->fn_extra;

	if (plan != NULL)
		return plan;
	if (nargs < 3)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("encrypt_trigger() needs a plaintext column, an envelope column and a key"),
				 errhint("Further arguments are parts of a context: column names, or \"=\" and a literal."),
				 errquiet()));
	plan = MemoryContextAllocZero(flinfo->fn_mcxt,
								  offsetof(SealPlan, parts) + (nargs - 3) * sizeof(Part));
	plan_columns(plan, td, flinfo, args);
	plan->key = args[2];
	plan->nparts = nargs - 3;
	for (int i = 0; i < plan->nparts; i++)
		plan_part(&plan->parts[i], plan, td, flinfo, args[3 + i]);
	flinfo->fn_extra = plan;
	return plan;
}

/* ---------- values ---------- */

static void
wipe(Plaintext p)
{
	if (p.copy)
		evc_wipe(unconstify(uint8_t *, p.bytes.data), p.bytes.len);
}

/* A varlena's bytes; char(n) without its padding, as when cast to text. */
static Plaintext
varlena_bytes(Datum value, Oid type)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	Plaintext	p = {{(uint8 *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v)}, v != (void *) DatumGetPointer(value)};

	if (type == BPCHAROID)
		p.bytes.len = bpchartruelen(VARDATA_ANY(v), p.bytes.len);
	return p;
}

static Plaintext
column_text(Column *col, Datum value)
{
	Plaintext	p;
	evc_bytes	utf8;

	if (col->type == TEXTOID || col->type == VARCHAROID || col->type == BPCHAROID)
		p = varlena_bytes(value, col->type);
	else
	{
		char	   *s = envcrypt_typed_output(&col->output, col->type, value);

		p = (Plaintext) {{(uint8 *) s, strlen(s)}, true};
	}
	utf8 = envcrypt_text_to_utf8((const char *) p.bytes.data, p.bytes.len);
	if (utf8.data == p.bytes.data)
		return p;
	wipe(p);
	return (Plaintext) {utf8, true};
}

static void
append_part(StringInfo buf, Part *part, HeapTuple tup, TupleDesc desc)
{
	bool		isnull;
	Datum		value;
	evc_bytes	utf8;

	if (part->literal != NULL)
		utf8 = envcrypt_text_to_utf8(part->literal, strlen(part->literal));
	else
	{
		value = heap_getattr(tup, part->column.attnum, desc, &isnull);
		if (isnull)
			refuse_definition(ERRCODE_INVALID_PARAMETER_VALUE,
							  "context column \"%s\" must not be null", part->column.name, NULL);
		utf8 = column_text(&part->column, value).bytes;
	}
	envcrypt_context_append(buf, (const char *) utf8.data, utf8.len);
}

/* The context of the row; empty for a trigger that binds none. */
static evc_bytes
row_context(SealPlan *plan, HeapTuple tup, TupleDesc desc)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < plan->nparts; i++)
		append_part(&buf, &plan->parts[i], tup, desc);
	return (evc_bytes) {(uint8 *) buf.data, buf.len};
}

/* ---------- rows ---------- */

/* The row with the plaintext sealed and gone. */
static HeapTuple
seal_into(SealPlan *plan, HeapTuple tup, TupleDesc desc, Plaintext p)
{
	evc_bytes	context = row_context(plan, tup, desc);
	int			cols[2] = {plan->plain.attnum, plan->envelope.attnum};
	Datum		values[2] = {(Datum) 0, (Datum) 0};
	bool		nulls[2] = {true, false};

	values[1] = PointerGetDatum(envcrypt_seal(plan->key, strlen(plan->key), p.bytes,
											  plan->nparts > 0 ? &context : NULL));
	wipe(p);
	envcrypt_check_typmod(envcrypt_datum_suite(values[1]), plan->typmod);

	/*
	 * The tuple that came in still holds the plaintext, in memory of the
	 * executor that is freed unwiped: PostgreSQL gives no way to it.
	 */
	return heap_modify_tuple_by_cols(tup, desc, 2, cols, values, nulls);
}

/* Cheap and never raising: whether any context column holds something else. */
static bool
context_differs(const SealPlan *plan, HeapTuple a, HeapTuple b, TupleDesc desc)
{
	for (int i = 0; i < plan->nparts; i++)
	{
		const Column *col = &plan->parts[i].column;
		bool		anull,
					bnull;
		Datum		aval,
					bval;

		if (plan->parts[i].literal != NULL)
			continue;
		aval = heap_getattr(a, col->attnum, desc, &anull);
		bval = heap_getattr(b, col->attnum, desc, &bnull);
		if (anull != bnull || (!anull && !datum_image_eq(aval, bval, col->byval, col->len)))
			return true;
	}
	return false;
}

/* The envelope both rows have, if it is one with a context; else NULL. */
static bytea *
shared_envelope(const SealPlan *plan, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	bool		oldnull,
				newnull;
	Datum		oldval = heap_getattr(old, plan->envelope.attnum, desc, &oldnull);
	Datum		newval = heap_getattr(new, plan->envelope.attnum, desc, &newnull);
	bytea	   *value;
	evc_envelope env;
	evc_err		err = EVC_ERR_INIT;

	if (oldnull || newnull || !datum_image_eq(oldval, newval, false, -1))
		return NULL;
	value = DatumGetByteaPP(newval);
	if (evc_envelope_parse((uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), &env, &err) != EVC_OK)
		envcrypt_throw(&err);
	return (env.flags & EVC_FLAG_CONTEXT) ? value : NULL;
}

/* The updated row, its value sealed again if the context moved away from it. */
static HeapTuple
follow_context(SealPlan *plan, HeapTuple old, HeapTuple new, TupleDesc desc)
{
	bytea	   *value;
	bytea	   *opened;
	evc_bytes	was;
	evc_bytes	now;

	if (!context_differs(plan, old, new, desc))
		return new;
	value = shared_envelope(plan, old, new, desc);
	if (value == NULL)
		return new;
	was = row_context(plan, old, desc);
	now = row_context(plan, new, desc);
	if (was.len == now.len && memcmp(was.data, now.data, was.len) == 0)
		return new;
	opened = envcrypt_open(value, &was, false);
	return seal_into(plan, new, desc,
					 (Plaintext) {{(uint8 *) VARDATA(opened), VARSIZE(opened) - VARHDRSZ}, true});
}

static HeapTuple
seal_row(TriggerData *td, FmgrInfo *flinfo, HeapTuple tup)
{
	bool		update = TRIGGER_FIRED_BY_UPDATE(td->tg_event);
	TupleDesc	desc = RelationGetDescr(td->tg_relation);
	SealPlan   *plan = get_plan(flinfo, td);
	bool		isnull;
	Datum		value;

	value = heap_getattr(tup, plan->plain.attnum, desc, &isnull);
	if (!isnull)
		tup = seal_into(plan, tup, desc, plan->plain.type == BYTEAOID ?
						varlena_bytes(value, BYTEAOID) : column_text(&plan->plain, value));
	else if (update)
		tup = follow_context(plan, td->tg_trigtuple, tup, desc);
	return tup;
}

/* An error says which of a table's triggers it is about; the client is told. */
static void
add_context(void *arg)
{
	TriggerData *td = arg;

	errcontext("trigger \"%s\" of table \"%s\", column \"%s\"", td->tg_trigger->tgname,
			   RelationGetRelationName(td->tg_relation),
			   td->tg_trigger->tgnargs > 0 ? td->tg_trigger->tgargs[0] : "");
}

Datum
envcrypt_encrypt_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *td = trigger_data(fcinfo);
	HeapTuple	tup = TRIGGER_FIRED_BY_UPDATE(td->tg_event) ? td->tg_newtuple : td->tg_trigtuple;
	ErrorContextCallback callback = {error_context_stack, add_context, td};

	/* What arrives by replication was sealed where it came from. */
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return PointerGetDatum(tup);
	error_context_stack = &callback;
	tup = seal_row(td, fcinfo->flinfo, tup);
	error_context_stack = callback.previous;
	return PointerGetDatum(tup);
}
