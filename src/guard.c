/*
 * guard.c
 *	  Refuses what would lose keys, and keeps the guards of their tables.
 *
 * Losing the key tables loses every value, so dropping them, the extension or
 * one of its members is refused by an object access hook, which sees them
 * reached by any path: by name, with their schema, by dependency, by owner.
 * The hook is there once the library is loaded; the event trigger on
 * ddl_command_start makes sure that it is.  DROP DATABASE is no business of
 * ours.
 *
 * The event trigger on ddl_command_end runs as whoever issued the command, in
 * every database that has the extension, so it must be cheap.  It uses
 * qualified names only, and leaves tables other than ours to unique.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "compat.h"
#include "envcrypt.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(envcrypt_guard_drop);
PG_FUNCTION_INFO_V1(envcrypt_guard_ddl);

static const char *const guarded_tables[] = {
	"key", "key_version", "key_wrap", "key_grant", "audit_log"
};

#define LOSS "All keys would be lost, and with them every value that they sealed."

static object_access_hook_type prev_object_access;

/* The names mean nothing where the extension is not installed. */
static bool
is_guarded_table(Oid relid)
{
	Oid			nsp = envcrypt_schema_oid();
	char	   *name;

	if (!OidIsValid(nsp) || get_rel_namespace(relid) != nsp ||
		get_rel_relkind(relid) != RELKIND_RELATION)
		return false;
	name = get_rel_name(relid);
	for (int i = 0; i < (int) lengthof(guarded_tables); i++)
		if (strcmp(name, guarded_tables[i]) == 0)
			return OidIsValid(envcrypt_extension_oid());
	return false;
}

/* An upgrade script of ours may do as it likes. */
static bool
destroy_allowed(void)
{
	return envcrypt_allow_destroy || IsBinaryUpgrade ||
		(creating_extension && CurrentExtensionObject == envcrypt_extension_oid());
}

static void
refuse_loss(const char *what, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot drop %s", what),
			 errdetail("%s", detail),
			 errhint("To destroy the keys of this database all the same, a superuser runs SET envcrypt.allow_destroy = on first."),
			 errquiet()));
}

/* Whether the function of a trigger is the one that guards key tables. */
static bool
is_guard_function(Oid function)
{
	Oid			nsp = envcrypt_schema_oid();

	return OidIsValid(nsp) && get_func_namespace(function) == nsp &&
		strcmp(get_func_name(function), "key_table_guard") == 0;
}

/*
 * Whether a trigger is one of our guards.  Others may come and go: those of
 * foreign keys that refer to a key table, and whatever its owner adds.
 */
static bool
is_guard_trigger(Oid trigger)
{
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;
	bool		result = false;

	if (!OidIsValid(envcrypt_schema_oid()))
		return false;
	rel = table_open(TriggerRelationId, AccessShareLock);

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
	tup = systable_getnext(scan);
	if (HeapTupleIsValid(tup))
		result = is_guard_function(((Form_pg_trigger) GETSTRUCT(tup))->tgfoid) &&
			is_guarded_table(((Form_pg_trigger) GETSTRUCT(tup))->tgrelid);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
object_access(ObjectAccessType access, Oid class, Oid object, int subid, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, class, object, subid, arg);
	if (access != OAT_DROP || destroy_allowed())
		return;
	if (class == ExtensionRelationId && object == envcrypt_extension_oid())
		refuse_loss("extension envcrypt", LOSS);
	if (class == TriggerRelationId && is_guard_trigger(object))
		refuse_loss("the key tables of envcrypt or their triggers", LOSS);
	if (class == RelationRelationId && is_guarded_table(object))
		refuse_loss(subid == 0 ? "the key tables of envcrypt or their triggers" : "columns of the key tables of envcrypt", LOSS);
}

void
envcrypt_guard_init(void)
{
	prev_object_access = object_access_hook;
	object_access_hook = object_access;
}

static EventTriggerData *
event_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function must be called by an event trigger"),
				 errquiet()));
	return (EventTriggerData *) fcinfo->context;
}

/*
 * To be called is what matters: it loads the library and so the hook.  What
 * the hook cannot see is a member leaving the extension, after which it could
 * be dropped alone and would be missing from dumps.
 */
Datum
envcrypt_guard_drop(PG_FUNCTION_ARGS)
{
	Node	   *stmt = event_data(fcinfo)->parsetree;

	if (stmt != NULL && IsA(stmt, AlterExtensionContentsStmt) &&
		((AlterExtensionContentsStmt *) stmt)->action < 0 &&
		strcmp(((AlterExtensionContentsStmt *) stmt)->extname, "envcrypt") == 0 &&
		!destroy_allowed())
		refuse_loss("members from extension envcrypt",
					"They could then be dropped one by one and would be missing from dumps.");
	PG_RETURN_NULL();
}

/* ---------- triggers of the key tables ---------- */

/*
 * pg_restore --disable-triggers disables all triggers of a table and enables
 * them again as ordinary ones, which would leave writes to key tables
 * unguarded meanwhile and in replica sessions ever after.
 */
static void
keep_triggers(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TriggerDesc *desc = rel->trigdesc == NULL ? NULL : CopyTriggerDesc(rel->trigdesc);

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
	{
		const Trigger *trigger = &desc->triggers[i];

		if (trigger->tgenabled == TRIGGER_FIRES_ALWAYS || !is_guard_function(trigger->tgfoid))
			continue;
		LockRelationOid(relid, ShareRowExclusiveLock);
		compat_enable_always(rel, trigger->tgname, ShareRowExclusiveLock);
	}
	table_close(rel, NoLock);
}

/* The relations that the command created or altered, each once. */
static List *
touched_relations(void)
{
	MemoryContext cxt = CurrentMemoryContext;
	List	   *relids = NIL;

	SPI_connect();
	if (SPI_execute("SELECT objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
					" WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the relations of a command");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		relid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext spi = MemoryContextSwitchTo(cxt);

		if (!isnull)
			relids = list_append_unique_oid(relids, DatumGetObjectId(relid));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return relids;
}

/* ALTER TABLE .. TYPE reaches children, which are not listed as touched. */
static bool
changes_type(Node *stmt)
{
	ListCell   *lc;

	if (stmt == NULL || !IsA(stmt, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) stmt)->cmds)
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_AlterColumnType)
			return true;
	return false;
}

Datum
envcrypt_guard_ddl(PG_FUNCTION_ARGS)
{
	bool		children = changes_type(event_data(fcinfo)->parsetree);
	ListCell   *lc;

	if (IsBinaryUpgrade || !OidIsValid(envcrypt_type_oid()))
		PG_RETURN_NULL();
	foreach(lc, touched_relations())
	{
		Oid			relid = lfirst_oid(lc);

		if (is_guarded_table(relid))
			keep_triggers(relid);
		else
			envcrypt_check_uniqueness(relid, children);
	}
	PG_RETURN_NULL();
}
