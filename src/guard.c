/*
 * guard.c
 *	  Refuses what would lose keys or make no sense on randomized values.
 *
 * Losing the key tables loses every value, so dropping them, the extension or
 * one of its members is refused by an object access hook, which sees them
 * reached by any path: by name, with their schema, by dependency, by owner.
 * The hook is there once the library is loaded; the event trigger on
 * ddl_command_start makes sure that it is.  DROP DATABASE is no business of
 * ours.
 *
 * The event trigger on ddl_command_end runs as whoever issued the command, in
 * every database that has the extension, so it must be cheap and must never
 * raise for tables that hold no enc_bytea.  It uses qualified names only, and
 * catalogs only by way of the caches.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "envcrypt.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(envcrypt_guard_drop);
PG_FUNCTION_INFO_V1(envcrypt_guard_ddl);

static const char *const guarded_tables[] = {
	"key", "key_version", "key_wrap", "key_grant", "audit_log"
};
static const char *const guard_triggers[] = {"guard_row", "guard_truncate"};

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

static Oid
trigger_table(Oid trigger)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;
	Oid			relid = InvalidOid;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(rel, TriggerOidIndexId, true, NULL, 1, &key);
	tup = systable_getnext(scan);
	if (HeapTupleIsValid(tup))
		relid = ((Form_pg_trigger) GETSTRUCT(tup))->tgrelid;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return relid;
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
	if (class == TriggerRelationId && is_guarded_table(trigger_table(object)))
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

static bool
has_weakened(Relation rel, const char *tgname)
{
	TriggerDesc *desc = rel->trigdesc;

	for (int i = 0; desc != NULL && i < desc->numtriggers; i++)
		if (strcmp(desc->triggers[i].tgname, tgname) == 0)
			return desc->triggers[i].tgenabled != TRIGGER_FIRES_ALWAYS;
	return false;
}

/*
 * pg_restore --disable-triggers disables all triggers of a table and enables
 * them again as ordinary ones, which would leave writes to key tables
 * unguarded meanwhile and in replica sessions ever after.
 */
static void
keep_triggers(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);

	for (int i = 0; i < (int) lengthof(guard_triggers); i++)
	{
		if (!has_weakened(rel, guard_triggers[i]))
			continue;
		LockRelationOid(relid, ShareRowExclusiveLock);
		compat_enable_always(rel, guard_triggers[i], ShareRowExclusiveLock);
	}
	table_close(rel, NoLock);
}

/* ---------- uniqueness ---------- */

/*
 * Whether values of the type may be randomized: it is enc_bytea without the
 * modifier, or a domain, array or row of such.
 */
static bool
may_be_random(Oid type, int32 typmod)
{
	Oid			elem;
	TupleDesc	desc;
	bool		found = false;

	check_stack_depth();
	type = getBaseTypeAndTypmod(type, &typmod);
	if (type == envcrypt_type_oid())
		return typmod != ENC_BYTEA_DETERMINISTIC;
	elem = get_element_type(type);
	if (!OidIsValid(elem))
		elem = get_range_subtype(type);
	if (OidIsValid(elem))
		return may_be_random(elem, typmod);
	if (type == RECORDOID || !type_is_rowtype(type))
		return false;
	desc = lookup_rowtype_tupdesc(type, typmod);
	for (int i = 0; i < desc->natts && !found; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		found = !att->attisdropped && may_be_random(att->atttypid, att->atttypmod);
	}
	ReleaseTupleDesc(desc);
	return found;
}

/* column is NULL for an expression */
static void
refuse_column(const char *column, const char *table, const char *kind, const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s of table \"%s\" cannot be in %s \"%s\": its values may be randomized",
					column ? psprintf("column \"%s\"", column) : "an expression",
					table, kind, name),
			 errdetail("Sealing a plaintext twice with a randomized key gives two different values."),
			 errhint("Use enc_bytea(deterministic) with an aes-256-siv key."),
			 errquiet()));
}

/*
 * An expression is as random as its type, and as its columns when it gives
 * bytes or text: a cast to bytea hides the type and leaves the bytes as
 * different as they were.
 */
static bool
expression_may_be_random(Relation heap, Node *expr)
{
	Oid			type = exprType(expr);
	Bitmapset  *attrs = NULL;
	int			i = -1;

	if (may_be_random(type, exprTypmod(expr)))
		return true;
	if (type != BYTEAOID && type != TEXTOID)
		return false;
	pull_varattnos(expr, 1, &attrs);
	while ((i = bms_next_member(attrs, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(heap), attnum - 1);

			if (may_be_random(att->atttypid, att->atttypmod))
				return true;
		}
	}
	return false;
}

/*
 * Whether key column n of the index may be random.  The index's own descriptor
 * is no help: a hash index stores integers.
 */
static bool
index_column_may_be_random(Relation heap, Relation index, int n)
{
	AttrNumber	attnum = index->rd_index->indkey.values[n];
	int			nth = 0;

	if (attnum > 0)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(heap), attnum - 1);

		return may_be_random(att->atttypid, att->atttypmod);
	}
	for (int i = 0; i < n; i++)
		if (index->rd_index->indkey.values[i] == 0)
			nth++;
	return expression_may_be_random(heap, list_nth(RelationGetIndexExpressions(index), nth));
}

/*
 * What is left of a refused CREATE INDEX CONCURRENTLY is invalid; it must not
 * stand in the way of other changes to its table.
 */
static void
check_index(Relation heap, Oid indexid, bool even_invalid)
{
	Relation	index = try_relation_open(indexid, AccessShareLock);

	if (index == NULL)
		return;
	if ((index->rd_index->indisunique || index->rd_index->indisexclusion) &&
		(index->rd_index->indisvalid || even_invalid))
	{
		for (int i = 0; i < index->rd_index->indnkeyatts; i++)
		{
			if (index_column_may_be_random(heap, index, i))
				refuse_column(index->rd_index->indkey.values[i] == 0 ? NULL :
							  NameStr(TupleDescAttr(RelationGetDescr(index), i)->attname),
							  RelationGetRelationName(heap),
							  index->rd_index->indisunique ? "unique index" : "exclusion constraint",
							  RelationGetRelationName(index));
		}
	}
	relation_close(index, NoLock);
}

static void
check_constraint_columns(Oid conoid, Oid relid, const AttrNumber *cols, int ncols)
{
	for (int i = 0; i < ncols; i++)
	{
		Oid			type;
		int32		typmod;
		Oid			collation;

		get_atttypetypmodcoll(relid, cols[i], &type, &typmod, &collation);
		if (may_be_random(type, typmod))
			refuse_column(get_attname(relid, cols[i], false), get_rel_name(relid),
						  "foreign key", get_constraint_name(conoid));
	}
}

/* Both sides of the table's own foreign keys. */
static void
check_foreign_keys(Relation rel)
{
	ListCell   *lc;

	foreach(lc, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *fk = lfirst(lc);

		check_constraint_columns(fk->conoid, fk->conrelid, fk->conkey, fk->nkeys);
		check_constraint_columns(fk->conoid, fk->confrelid, fk->confkey, fk->nkeys);
	}
}

static void
check_partition_key(Relation rel)
{
	PartitionKey key = RelationGetPartitionKey(rel);
	int			nth = 0;

	for (int i = 0; key != NULL && i < key->partnatts; i++)
	{
		if (key->partattrs[i] == 0 ?
			!expression_may_be_random(rel, list_nth(key->partexprs, nth++)) :
			!may_be_random(key->parttypid[i], key->parttypmod[i]))
			continue;
		refuse_column(key->partattrs[i] == 0 ? NULL :
					  get_attname(RelationGetRelid(rel), key->partattrs[i], false),
					  RelationGetRelationName(rel), "the partition key of",
					  RelationGetRelationName(rel));
	}
}

static bool
has_random_column(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && may_be_random(att->atttypid, att->atttypmod))
			return true;
	}
	return false;
}

/*
 * A change of a column's type reaches children, which may have indexes of
 * their own and are not listed as touched.
 */
static void
check_table(Oid relid, bool children)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	List	   *descendants = NIL;
	ListCell   *lc;

	if (rel == NULL)
		return;
	foreach(lc, RelationGetIndexList(rel))
		check_index(rel, lfirst_oid(lc), false);
	check_foreign_keys(rel);
	check_partition_key(rel);
	if (children && rel->rd_rel->relhassubclass && has_random_column(rel))
		descendants = find_all_inheritors(relid, AccessShareLock, NULL);
	relation_close(rel, NoLock);
	foreach(lc, descendants)
		if (lfirst_oid(lc) != relid)
			check_table(lfirst_oid(lc), false);
}

static void
check_relation(Oid relid)
{
	Oid			heapid;
	Relation	heap;

	switch (get_rel_relkind(relid))
	{
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			heapid = IndexGetRelation(relid, true);
			heap = OidIsValid(heapid) ? try_relation_open(heapid, AccessShareLock) : NULL;
			if (heap == NULL)
				return;
			check_index(heap, relid, true);
			relation_close(heap, NoLock);
			break;
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			check_table(relid, true);
			break;
	}
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

Datum
envcrypt_guard_ddl(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	(void) event_data(fcinfo);
	if (IsBinaryUpgrade || !OidIsValid(envcrypt_type_oid()))
		PG_RETURN_NULL();
	foreach(lc, touched_relations())
	{
		Oid			relid = lfirst_oid(lc);

		if (is_guarded_table(relid))
			keep_triggers(relid);
		else
			check_relation(relid);
	}
	PG_RETURN_NULL();
}
