/*
 * keytables.c
 *	  Writing the key tables, which only this module and a restore may do.
 *
 * Writes go through SPI, so that constraints, triggers, indexes and logical
 * decoding see them like any other.  The guard trigger refuses every other
 * writer: a row deleted or altered by hand can make values unreadable.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "envcrypt.h"
#include "keytables.h"

PG_FUNCTION_INFO_V1(envcrypt_key_table_guard);

static bool writing;			/* envcrypt_write() is on the stack */

void
envcrypt_arg(WriteArgs *args, Oid type, Datum value)
{
	Assert(args->n < WRITE_MAX_ARGS);
	args->types[args->n] = type;
	args->values[args->n++] = value;
}

void
envcrypt_arg_null(WriteArgs *args, Oid type)
{
	envcrypt_arg(args, type, (Datum) 0);
	args->nulls[args->n - 1] = 'n';
}

void
envcrypt_arg_text(WriteArgs *args, const char *value)
{
	envcrypt_arg(args, TEXTOID, CStringGetTextDatum(value));
}

void
envcrypt_arg_bytes(WriteArgs *args, const uint8 *value, size_t len)
{
	bytea	   *b = palloc(VARHDRSZ + len);

	SET_VARSIZE(b, VARHDRSZ + len);
	memcpy(VARDATA(b), value, len);
	envcrypt_arg(args, BYTEAOID, PointerGetDatum(b));
}

void
envcrypt_arg_names(WriteArgs *args, List *names)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(names), 1));
	ListCell   *lc;

	foreach(lc, names)
		elems[foreach_current_index(lc)] = CStringGetTextDatum((char *) lfirst(lc));
	envcrypt_arg(args, TEXTARRAYOID,
				 PointerGetDatum(construct_array(elems, list_length(names), TEXTOID, -1, false, TYPALIGN_INT)));
}

/*
 * The role that owns the key tables, in whose name they are written: callers
 * have no rights on them.
 */
static Oid
tables_owner(void)
{
	Oid			relid = get_relname_relid("key", get_namespace_oid(ENVCRYPT_SCHEMA, false));
	Relation	rel = table_open(relid, AccessShareLock);
	Oid			owner = rel->rd_rel->relowner;

	table_close(rel, AccessShareLock);
	return owner;
}

/*
 * With a snapshot of its own, so that a REPEATABLE READ caller changes the
 * rows as they are now, which is what it was checked against.
 */
static uint64
execute(const char *sql, WriteArgs *args)
{
	SPIPlanPtr	plan = SPI_prepare(sql, args->n, args->types);

	if (plan == NULL)
		elog(ERROR, "could not prepare a write to the key tables: %s", SPI_result_code_string(SPI_result));
	if (SPI_execute_snapshot(plan, args->values, args->nulls,
							 GetLatestSnapshot(), InvalidSnapshot, false, true, 0) < 0)
		elog(ERROR, "could not write to the key tables: %s", SPI_result_code_string(SPI_result));
	return SPI_processed;
}

/* As the tables' owner; SPI is connected. */
static uint64
execute_as_owner(const char *sql, WriteArgs *args)
{
	volatile uint64 rows = 0;
	Oid			role;
	int			context;

	GetUserIdAndSecContext(&role, &context);
	SetUserIdAndSecContext(tables_owner(), context | SECURITY_LOCAL_USERID_CHANGE);
	writing = true;
	PG_TRY();
	{
		rows = execute(sql, args);
	}
	PG_FINALLY();
	{
		writing = false;
		SetUserIdAndSecContext(role, context);
	}
	PG_END_TRY();
	return rows;
}

uint64
envcrypt_write(const char *sql, WriteArgs *args)
{
	uint64		rows;

	SPI_connect();
	rows = execute_as_owner(sql, args);
	SPI_finish();
	return rows;
}

Datum
envcrypt_query(const char *sql, WriteArgs *args)
{
	Datum		value = (Datum) 0;
	bool		isnull = true;

	SPI_connect();
	if (execute_as_owner(sql, args) == 1)
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		elog(ERROR, "a query of the key tables gave no value");
	/* text, json and arrays: what every caller asks for */
	value = SPI_datumTransfer(value, false, -1);
	SPI_finish();
	return value;
}

void
envcrypt_lock_key(const char *key)
{
	Oid			relid = get_relname_relid("key", get_namespace_oid(ENVCRYPT_SCHEMA, false));
	uint32		hash = hash_bytes((const unsigned char *) key, strlen(key));

	LockDatabaseObject(relid, hash, 0, ExclusiveLock);
}

void
envcrypt_audit(const char *action, const char *key, const char *detail)
{
	WriteArgs	args = {0};

	envcrypt_arg_text(&args, GetUserNameFromId(GetUserId(), false));
	envcrypt_arg_text(&args, GetUserNameFromId(GetSessionUserId(), false));
	envcrypt_arg_text(&args, action);
	envcrypt_arg_text(&args, key);
	envcrypt_arg_text(&args, detail);
	envcrypt_write("INSERT INTO envcrypt.audit_log (at, actor, session_actor, action, key, detail)"
				   " VALUES (pg_catalog.clock_timestamp(), $1, $2, $3, $4, $5::pg_catalog.jsonb)", &args);
}

/*
 * What pg_restore is: a superuser or the owner of the extension, which owns
 * the tables.
 */
static bool
may_restore(Relation rel)
{
	return superuser() || GetUserId() == rel->rd_rel->relowner;
}

/*
 * Rows come from our functions, from a restore, or from a publisher whose own
 * guard let them pass: a publication FOR ALL TABLES takes the key tables
 * along, and an apply worker that was refused would retry for ever.  Grants
 * alone are ever deleted.
 */
static bool
may_write(const TriggerData *trig)
{
	if (writing)
		return true;
	if (!TRIGGER_FIRED_FOR_ROW(trig->tg_event) || !may_restore(trig->tg_relation))
		return false;
	if (TRIGGER_FIRED_BY_DELETE(trig->tg_event) &&
		strcmp(RelationGetRelationName(trig->tg_relation), "key_grant") != 0)
		return false;
	return TRIGGER_FIRED_BY_INSERT(trig->tg_event) || IsLogicalWorker();
}

Datum
envcrypt_key_table_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trig = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("key_table_guard() is a trigger function"),
				 errquiet()));
	if (!may_write(trig))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s.%s\" cannot be written to directly", ENVCRYPT_SCHEMA,
						RelationGetRelationName(trig->tg_relation)),
				 errhint("Keys are changed with the functions of schema envcrypt; rows of keys are never deleted."),
				 errquiet()));
	CacheInvalidateRelcache(trig->tg_relation);
	if (!TRIGGER_FIRED_FOR_ROW(trig->tg_event))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(TRIGGER_FIRED_BY_UPDATE(trig->tg_event) ? trig->tg_newtuple : trig->tg_trigtuple);
}
