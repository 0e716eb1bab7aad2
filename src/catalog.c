/*
 * catalog.c
 *	  Reading the key tables.  See catalog.h for the snapshot rule.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog.h"
#include "envcrypt.h"

/* Attribute numbers of sql/envcrypt--*.sql. */
enum
{
	Anum_key_name = 1, Anum_key_label, Anum_key_algorithm, Anum_key_root_keys, Anum_key_enabled
};
enum
{
	Anum_version_kvid = 1, Anum_version_key, Anum_version_number, Anum_version_state,
	Anum_version_compromised, Anum_version_algorithm, Anum_version_commitment
};
enum
{
	Anum_wrap_kvid = 1, Anum_wrap_root_key, Anum_wrap_wrapped
};
enum
{
	Anum_grant_key = 1, Anum_grant_grantee, Anum_grant_grantee_oid, Anum_grant_privileges
};

typedef enum KeyTable
{
	TABLE_KEY, TABLE_VERSION, TABLE_WRAP, TABLE_GRANT
} KeyTable;

static const char *const table_names[KEY_TABLES] = {
	"key", "key_version", "key_wrap", "key_grant"
};

/* OIDs as they were when last opened, for the invalidation callback. */
static Oid	table_oids[KEY_TABLES];

static const char *const state_names[] = {
	"pending", "primary", "decrypt_only", "disabled", "destroy_scheduled", "destroyed"
};

/* A row for the reader; return false to stop. */
typedef bool (*row_reader) (HeapTuple tup, TupleDesc desc, void *arg);

/* What to look for: an index by name and the value of its first column. */
typedef struct Lookup
{
	KeyTable	table;
	const char *index;
	AttrNumber	attnum;
	RegProcedure equal;
	Datum		value;
} Lookup;

Oid
envcrypt_schema_oid(void)
{
	return get_namespace_oid(ENVCRYPT_SCHEMA, true);
}

Oid
envcrypt_extension_oid(void)
{
	return get_extension_oid("envcrypt", true);
}

Oid
envcrypt_type_oid(void)
{
	Oid			nsp = envcrypt_schema_oid();

	if (!OidIsValid(nsp))
		return InvalidOid;
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum("enc_bytea"), ObjectIdGetDatum(nsp));
}

bool
envcrypt_is_key_table(Oid relid)
{
	for (int i = 0; i < KEY_TABLES; i++)
		if (table_oids[i] == relid)
			return true;
	return false;
}

const char *
envcrypt_state_name(VersionState state)
{
	return state_names[state];
}

/* Call the reader for each row that matches. */
static void
scan(const Lookup *what, row_reader reader, void *arg)
{
	Oid			nsp = get_namespace_oid(ENVCRYPT_SCHEMA, false);
	Oid			index = get_relname_relid(what->index, nsp);
	Relation	rel;
	SysScanDesc sd;
	ScanKeyData key;
	HeapTuple	tup;

	table_oids[what->table] = get_relname_relid(table_names[what->table], nsp);
	rel = table_open(table_oids[what->table], AccessShareLock);
	ScanKeyInit(&key, what->attnum, BTEqualStrategyNumber, what->equal, what->value);
	sd = systable_beginscan(rel, index, OidIsValid(index), NULL, 1, &key);
	while (HeapTupleIsValid(tup = systable_getnext(sd)))
		if (!reader(tup, RelationGetDescr(rel), arg))
			break;
	systable_endscan(sd);
	table_close(rel, AccessShareLock);
}

static Datum
column(HeapTuple tup, TupleDesc desc, AttrNumber attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tup, attnum, desc, &isnull);

	if (isnull)
		elog(ERROR, "unexpected null in column %d of a key table", attnum);
	return value;
}

static void
copy_name(char *dst, Datum value)
{
	text	   *t = DatumGetTextPP(value);
	size_t		len = VARSIZE_ANY_EXHDR(t);

	if (len > EVC_NAME_MAX)
		elog(ERROR, "name in a key table is too long");
	memcpy(dst, VARDATA_ANY(t), len);
	dst[len] = '\0';
}

static void
copy_bytes(uint8 *dst, Datum value, size_t len)
{
	bytea	   *b = DatumGetByteaPP(value);

	if (VARSIZE_ANY_EXHDR(b) != len)
		elog(ERROR, "bytes in a key table have the wrong length");
	memcpy(dst, VARDATA_ANY(b), len);
}

static RowOrigin
row_origin(HeapTuple tup)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(tup->t_data);

	if (!TransactionIdIsCurrentTransactionId(xmin))
		return ROW_COMMITTED;
	return xmin == GetTopTransactionIdIfAny() ? ROW_OWN_TOP : ROW_OWN_SUB;
}

static bool
take_key(HeapTuple tup, TupleDesc desc, void *arg)
{
	KeyRow	   *row = arg;

	copy_name(row->name, column(tup, desc, Anum_key_name));
	copy_name(row->label, column(tup, desc, Anum_key_label));
	row->algorithm = evc_algorithm_by_name(TextDatumGetCString(column(tup, desc, Anum_key_algorithm)));
	row->enabled = DatumGetBool(column(tup, desc, Anum_key_enabled));
	return false;
}

bool
envcrypt_read_key(const char *name, KeyRow *row)
{
	Lookup		what = {TABLE_KEY, "key_pkey", Anum_key_name, F_TEXTEQ, CStringGetTextDatum(name)};

	row->name[0] = '\0';
	scan(&what, take_key, row);
	return row->name[0] != '\0';
}

static VersionState
state_by_name(const char *name)
{
	for (int i = 0; i < (int) lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (VersionState) i;
	elog(ERROR, "unknown state in envcrypt.key_version");
}

static void
fill_version(HeapTuple tup, TupleDesc desc, VersionRow *row)
{
	copy_bytes(row->kvid, column(tup, desc, Anum_version_kvid), EVC_KVID_BYTES);
	copy_name(row->key, column(tup, desc, Anum_version_key));
	row->number = DatumGetInt32(column(tup, desc, Anum_version_number));
	row->state = state_by_name(TextDatumGetCString(column(tup, desc, Anum_version_state)));
	row->algorithm = evc_algorithm_by_name(TextDatumGetCString(column(tup, desc, Anum_version_algorithm)));
	copy_bytes(row->commitment, column(tup, desc, Anum_version_commitment), EVC_COMMITMENT_BYTES);
	row->origin = row_origin(tup);
}

static bool
take_version(HeapTuple tup, TupleDesc desc, void *arg)
{
	fill_version(tup, desc, arg);
	return false;
}

static Datum
kvid_datum(const uint8 *kvid)
{
	bytea	   *b = palloc(VARHDRSZ + EVC_KVID_BYTES);

	SET_VARSIZE(b, VARHDRSZ + EVC_KVID_BYTES);
	memcpy(VARDATA(b), kvid, EVC_KVID_BYTES);
	return PointerGetDatum(b);
}

bool
envcrypt_read_version(const uint8 *kvid, VersionRow *row)
{
	Lookup		what = {TABLE_VERSION, "key_version_pkey", Anum_version_kvid, F_BYTEAEQ, kvid_datum(kvid)};

	row->number = 0;
	scan(&what, take_version, row);
	return row->number != 0;
}

static bool
append_version(HeapTuple tup, TupleDesc desc, void *arg)
{
	List	  **list = arg;
	VersionRow *row = palloc(sizeof(VersionRow));

	fill_version(tup, desc, row);
	*list = lappend(*list, row);
	return true;
}

List *
envcrypt_read_versions(const char *key)
{
	Lookup		what = {TABLE_VERSION, "key_version_key_number_key", Anum_version_key, F_TEXTEQ, CStringGetTextDatum(key)};
	List	   *list = NIL;

	scan(&what, append_version, &list);
	return list;
}

static bool
append_wrap(HeapTuple tup, TupleDesc desc, void *arg)
{
	List	  **list = arg;
	WrapRow    *row = palloc(sizeof(WrapRow));

	row->root_key = TextDatumGetCString(column(tup, desc, Anum_wrap_root_key));
	row->wrapped = DatumGetByteaPCopy(column(tup, desc, Anum_wrap_wrapped));
	*list = lappend(*list, row);
	return true;
}

List *
envcrypt_read_wraps(const uint8 *kvid)
{
	Lookup		what = {TABLE_WRAP, "key_wrap_pkey", Anum_wrap_kvid, F_BYTEAEQ, kvid_datum(kvid)};
	List	   *list = NIL;

	scan(&what, append_wrap, &list);
	return list;
}

typedef struct GrantScan
{
	Oid			role;
	uint8		privileges;
} GrantScan;

/*
 * Whether a grant's row counts for the role: its name and OID must still
 * belong to one role, of which ours is a member with inherited rights.
 */
static bool
grant_applies(Oid role, Oid grantee, const char *name)
{
	char	   *now;

	if (!OidIsValid(grantee))
		return strcmp(name, "public") == 0;
	now = GetUserNameFromId(grantee, true);
	return now != NULL && strcmp(now, name) == 0 && has_privs_of_role(role, grantee);
}

static bool
add_grant(HeapTuple tup, TupleDesc desc, void *arg)
{
	GrantScan  *g = arg;
	Oid			grantee = DatumGetObjectId(column(tup, desc, Anum_grant_grantee_oid));
	Datum	   *elems;
	int			n;

	if (!grant_applies(g->role, grantee, TextDatumGetCString(column(tup, desc, Anum_grant_grantee))))
		return true;
	deconstruct_array(DatumGetArrayTypeP(column(tup, desc, Anum_grant_privileges)),
					  TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		g->privileges |= envcrypt_privilege_by_name(TextDatumGetCString(elems[i]));
	return true;
}

uint8
envcrypt_read_privileges(const KeyRow *key, Oid role)
{
	Lookup		what = {TABLE_GRANT, "key_grant_pkey", Anum_grant_key, F_TEXTEQ, CStringGetTextDatum(key->name)};
	GrantScan	g = {role, 0};

	if (superuser_arg(role))
		return KEY_PRIV_ALL;
	scan(&what, add_grant, &g);
	if ((g.privileges & KEY_PRIV_ENCRYPT) && evc_algorithm_seals(key->algorithm) != EVC_SUITE_XAES)
		g.privileges |= KEY_PRIV_SEARCH;
	return g.privileges;
}

typedef struct InertScan
{
	const char *role;
	Oid			oid;
	bool		found;
} InertScan;

static bool
see_inert(HeapTuple tup, TupleDesc desc, void *arg)
{
	InertScan  *i = arg;

	/* one of the two agrees and the other does not */
	i->found = (strcmp(TextDatumGetCString(column(tup, desc, Anum_grant_grantee)), i->role) == 0) !=
		(DatumGetObjectId(column(tup, desc, Anum_grant_grantee_oid)) == i->oid);
	return !i->found;
}

bool
envcrypt_has_inert_grant(const char *key, const char *role)
{
	Lookup		what = {TABLE_GRANT, "key_grant_pkey", Anum_grant_key, F_TEXTEQ, CStringGetTextDatum(key)};
	InertScan	i = {role, get_role_oid(role, true), false};

	scan(&what, see_inert, &i);
	return i.found;
}

bool
envcrypt_find_key(const char *key, size_t keylen, KeyRow *row)
{
	char		name[EVC_NAME_MAX + 1];

	if (!evc_name_valid(key, keylen))
		return false;
	memcpy(name, key, keylen);
	name[keylen] = '\0';
	return envcrypt_read_key(name, row);
}

uint8
envcrypt_key_algorithm(const char *key, size_t keylen)
{
	KeyRow		row;

	return envcrypt_find_key(key, keylen, &row) ? row.algorithm : 0;
}
