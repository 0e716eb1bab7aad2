/*
 * unique.c
 *	  Refuses uniqueness over values that may be randomized.
 *
 * Sealing a plaintext twice with a randomized key gives two different values,
 * so a unique index over them refuses nothing, and a foreign or partition key
 * leads nowhere.  Runs after DDL of whoever issued it, so it must be cheap and
 * must never raise for tables that hold no enc_bytea: it looks at the catalogs
 * by way of the caches only, and opens no index that demands nothing.
 *
 * It sees what people write by accident.  An expression that gives something
 * else than bytes or text is let through, and so is ALTER TYPE of a composite
 * type that is in a unique index already.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "envcrypt.h"

PG_FUNCTION_INFO_V1(envcrypt_may_be_random);

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
	if (!OidIsValid(elem) && type_is_multirange(type))
		elem = get_multirange_range(type);
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

/* For check(): what was made while no guard was there. */
Datum
envcrypt_may_be_random(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_be_random(PG_GETARG_OID(0), PG_GETARG_INT32(1)));
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
 * Whether the index is worth opening.  What is left of a refused CREATE INDEX
 * CONCURRENTLY is invalid; it must not stand in the way of other changes to
 * its table.
 */
static bool
demands_uniqueness(Oid indexid, bool even_invalid)
{
	HeapTuple	tup = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index form;
	bool		result;

	if (!HeapTupleIsValid(tup))
		return false;
	form = (Form_pg_index) GETSTRUCT(tup);
	result = (form->indisunique || form->indisexclusion) && (form->indisvalid || even_invalid);
	ReleaseSysCache(tup);
	return result;
}

static void
check_index(Relation heap, Oid indexid, bool even_invalid)
{
	Relation	index;

	if (!demands_uniqueness(indexid, even_invalid))
		return;
	index = try_relation_open(indexid, AccessShareLock);
	if (index != NULL)
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
		relation_close(index, NoLock);
	}
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

void
envcrypt_check_uniqueness(Oid relid, bool children)
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
			check_table(relid, children);
			break;
	}
}
