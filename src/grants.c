/*
 * grants.c
 *	  grant_key(), revoke_key(), has_key_privilege(), and how a refusal reads.
 *
 * A grant names a role twice, by name and by OID, and counts while both agree:
 * a dump that is restored into another cluster gives nobody there anything.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "envcrypt.h"
#include "keyadmin.h"
#include "keytables.h"

PG_FUNCTION_INFO_V1(envcrypt_grant_key);
PG_FUNCTION_INFO_V1(envcrypt_revoke_key);
PG_FUNCTION_INFO_V1(envcrypt_has_key_privilege);

static const struct
{
	const char *name;
	uint8		bit;
}			privileges[] = {
	{"encrypt", KEY_PRIV_ENCRYPT},
	{"decrypt", KEY_PRIV_DECRYPT},
	{"search", KEY_PRIV_SEARCH},
	{"manage", KEY_PRIV_MANAGE}
};

uint8
envcrypt_privilege_by_name(const char *name)
{
	for (int i = 0; i < (int) lengthof(privileges); i++)
		if (strcmp(privileges[i].name, name) == 0)
			return privileges[i].bit;
	return 0;
}

static List *
privilege_names(uint8 bits)
{
	List	   *names = NIL;

	for (int i = 0; i < (int) lengthof(privileges); i++)
		if (bits & privileges[i].bit)
			names = lappend(names, unconstify(char *, privileges[i].name));
	return names;
}

void
envcrypt_throw_denied(const char *key, uint8 wanted)
{
	char	   *name = linitial(privilege_names(wanted));
	char	   *role = GetUserNameFromId(GetUserId(), false);
	bool		inert = envcrypt_has_inert_grant(key, role);

	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for key \"%s\"", key),
			 inert ?
			 errdetail("Role \"%s\" does not have the privilege \"%s\" on it. A grant to it is inert: the role was renamed, or one of its name was dropped or is of another cluster.",
					   role, name) :
			 errdetail("Role \"%s\" does not have the privilege \"%s\" on it.", role, name),
			 errhint("Somebody who manages the key can give it: SELECT envcrypt.grant_key('%s', %s, '{%s}').",
					 key, quote_literal_cstr(role), name),
			 errquiet()));
}

/*
 * The name is shown only when it looks like one: with arguments in the wrong
 * order it is the value.
 */
void
envcrypt_throw_unknown_key(const char *key, size_t keylen)
{
	if (evc_name_valid(key, keylen))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("key \"%.*s\" does not exist", (int) keylen, key),
				 errhint("SELECT envcrypt.create_key('name') makes one; the view envcrypt.keys lists yours."),
				 errquiet()));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("key does not exist, and what was given is not the name of a key"),
			 errhint("The key is the argument after the value: encrypt(value, key)."),
			 errquiet()));
}

/* The bits of a text[] argument. */
static uint8
privileges_arg(FunctionCallInfo fcinfo, int n)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(n);
	Datum	   *elems;
	bool	   *nulls;
	int			count;
	uint8		bits = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		uint8		bit = nulls[i] ? 0 : envcrypt_privilege_by_name(TextDatumGetCString(elems[i]));

		if (bit == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized privilege on a key"),
					 errhint("Privileges are encrypt, decrypt, search and manage."),
					 errquiet()));
		bits |= bit;
	}
	if (bits == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no privilege was named"),
				 errhint("Privileges are encrypt, decrypt, search and manage."),
				 errquiet()));
	return bits;
}

static const char *
grantee_arg(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("grantee must not be null"),
				 errquiet()));
	return NameStr(*PG_GETARG_NAME(n));
}

static char *
grant_detail(const char *grantee, uint8 bits)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"grantee\":");
	escape_json(&buf, grantee);
	appendStringInfoString(&buf, ",\"privileges\":[");
	foreach(lc, privilege_names(bits))
		appendStringInfo(&buf, "%s\"%s\"", foreach_current_index(lc) ? "," : "", (char *) lfirst(lc));
	appendStringInfoString(&buf, "]}");
	return buf.data;
}

void
envcrypt_add_grant(const char *key, const char *grantee, Oid grantee_oid, uint8 bits)
{
	WriteArgs	args = {0};

	envcrypt_arg_text(&args, key);
	envcrypt_arg_text(&args, grantee);
	envcrypt_arg(&args, OIDOID, ObjectIdGetDatum(grantee_oid));
	envcrypt_arg_names(&args, privilege_names(bits));
	envcrypt_arg_text(&args, GetUserNameFromId(GetUserId(), false));
	envcrypt_write("INSERT INTO envcrypt.key_grant AS g"
				   " (key, grantee, grantee_oid, privileges, granted_by, granted_at)"
				   " VALUES ($1, $2, $3, $4, $5, pg_catalog.now())"
				   " ON CONFLICT (key, grantee, grantee_oid) DO UPDATE SET privileges ="
				   " (SELECT pg_catalog.array_agg(DISTINCT p) FROM"
				   " pg_catalog.unnest(g.privileges OPERATOR(pg_catalog.||) EXCLUDED.privileges) p),"
				   " granted_by = EXCLUDED.granted_by, granted_at = EXCLUDED.granted_at", &args);
}

Datum
envcrypt_grant_key(PG_FUNCTION_ARGS)
{
	KeyRow		row;
	const char *grantee;
	Oid			oid = InvalidOid;
	uint8		bits;

	envcrypt_key_to_manage(fcinfo, "grant_key()", &row);
	grantee = grantee_arg(fcinfo, 1);
	if (strcmp(grantee, "public") != 0)
		oid = get_role_oid(grantee, false);
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("privileges must not be null"),
				 errquiet()));
	bits = privileges_arg(fcinfo, 2);
	if ((bits & KEY_PRIV_SEARCH) && evc_algorithm_seals(row.algorithm) == EVC_SUITE_XAES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"%s\" cannot be searched with", row.name),
				 errhint("Equal values can be found when they are sealed with an aes-256-siv key."),
				 errquiet()));
	envcrypt_add_grant(row.name, grantee, oid, bits);
	envcrypt_audit("grant_key", row.name, grant_detail(grantee, bits));
	PG_RETURN_VOID();
}

/* A name that is no role's is a mistake, which in an emergency must be seen. */
static void
note_nothing_revoked(const char *key, const char *grantee)
{
	if (strcmp(grantee, "public") != 0)
		(void) get_role_oid(grantee, false);
	ereport(NOTICE,
			(errmsg("\"%s\" had none of these privileges on key \"%s\"", grantee, key),
			 errquiet()));
}

/*
 * Rows of that name whatever their OID, so that what a dropped role or another
 * cluster's left behind can be cleared away; and rows of the role of that name
 * whatever they call it, which count again if it gets its old name back.
 */
#define ROWS_OF_GRANTEE \
	"key OPERATOR(pg_catalog.=) $1 AND (grantee OPERATOR(pg_catalog.=) $2" \
	" OR (grantee_oid OPERATOR(pg_catalog.=) $3 AND grantee_oid OPERATOR(pg_catalog.<>) 0))"

Datum
envcrypt_revoke_key(PG_FUNCTION_ARGS)
{
	KeyRow		row;
	const char *grantee;
	uint8		bits;
	WriteArgs	args = {0};

	envcrypt_key_to_manage(fcinfo, "revoke_key()", &row);
	grantee = grantee_arg(fcinfo, 1);
	bits = PG_ARGISNULL(2) ? KEY_PRIV_ALL : privileges_arg(fcinfo, 2);
	envcrypt_arg_text(&args, row.name);
	envcrypt_arg_text(&args, grantee);
	envcrypt_arg(&args, OIDOID, ObjectIdGetDatum(get_role_oid(grantee, true)));
	envcrypt_arg_names(&args, privilege_names(bits));
	if (envcrypt_write("UPDATE envcrypt.key_grant SET privileges = ARRAY(SELECT p FROM"
					   " pg_catalog.unnest(privileges) p WHERE p OPERATOR(pg_catalog.<>) ALL ($4))"
					   " WHERE " ROWS_OF_GRANTEE " AND privileges OPERATOR(pg_catalog.&&) $4", &args) == 0)
	{
		note_nothing_revoked(row.name, grantee);
		PG_RETURN_VOID();
	}
	args.n = 3;
	envcrypt_write("DELETE FROM envcrypt.key_grant WHERE " ROWS_OF_GRANTEE
				   " AND privileges OPERATOR(pg_catalog.=) '{}'", &args);
	envcrypt_audit("revoke_key", row.name, grant_detail(grantee, bits));
	PG_RETURN_VOID();
}

Datum
envcrypt_has_key_privilege(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	char	   *privilege = text_to_cstring(PG_GETARG_TEXT_PP(1));
	uint8		wanted = KEY_PRIV_ALL;
	KeyRow		row;

	if (strcmp(privilege, "any") != 0)
		wanted = envcrypt_privilege_by_name(privilege);
	else if (has_privs_of_role(GetUserId(), ROLE_PG_MONITOR))
		PG_RETURN_BOOL(true);
	if (wanted == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized privilege on a key"),
				 errhint("Privileges are encrypt, decrypt, search, manage, or any of them: any."),
				 errquiet()));
	if (!evc_name_valid(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) ||
		!envcrypt_read_key(text_to_cstring(name), &row))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL((envcrypt_read_privileges(&row, GetUserId()) & wanted) != 0);
}
