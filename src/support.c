/*
 * support.c
 *	  Planner support of = and <>: refuses a search that can never find.
 *
 * Sealing with a randomized key gives another value every time, so
 * "col = encrypt('x', 'pii')" is false for every row.  Where the key is a
 * constant the planner can tell, and says so instead of returning nothing.
 * An expression is never replaced, and whatever is in doubt passes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "envcrypt.h"

PG_FUNCTION_INFO_V1(envcrypt_enc_bytea_support);

/* The name of the function called, when it is one of ours; else NULL. */
static const char *
own_function(Node *node)
{
	Oid			funcid;

	if (node == NULL || !IsA(node, FuncExpr))
		return NULL;
	funcid = ((FuncExpr *) node)->funcid;
	if (get_func_namespace(funcid) != envcrypt_schema_oid())
		return NULL;
	return get_func_name(funcid);
}

/* Look through relabelling and the cast that applies the type modifier. */
static Node *
strip_coercions(Node *node)
{
	for (;;)
	{
		const char *name = own_function(node);

		if (node != NULL && IsA(node, RelabelType))
			node = (Node *) ((RelabelType *) node)->arg;
		else if (name != NULL && strcmp(name, "enc_bytea") == 0)
			node = linitial(((FuncExpr *) node)->args);
		else
			return node;
	}
}

/* The constant key that an argument is sealed with, or NULL. */
static text *
constant_key(Node *node)
{
	const char *name;
	Node	   *key;

	node = strip_coercions(node);
	name = own_function(node);
	if (name == NULL ||
		(strcmp(name, "encrypt") != 0 && strcmp(name, "encrypt_bound") != 0 &&
		 strcmp(name, "encrypt_bytea") != 0))
		return NULL;
	key = lsecond(((FuncExpr *) node)->args);
	if (!IsA(key, Const) || ((Const *) key)->constisnull || ((Const *) key)->consttype != TEXTOID)
		return NULL;
	return DatumGetTextPP(((Const *) key)->constvalue);
}

static void
refuse_randomized(Node *arg)
{
	text	   *key = constant_key(arg);
	uint8		suite;

	if (key == NULL)
		return;
	suite = evc_algorithm_seals(envcrypt_key_algorithm(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)));
	if (suite == 0 || suite == EVC_SUITE_SIV)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a value sealed with a randomized key cannot be searched for"),
			 errhint("Seal the column with an aes-256-siv key and compare it with = ANY (search_terms(...))."),
			 errquiet()));
}

Datum
envcrypt_enc_bytea_support(PG_FUNCTION_ARGS)
{
	Node	   *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSimplify))
	{
		ListCell   *lc;

		foreach(lc, ((SupportRequestSimplify *) request)->fcall->args)
			refuse_randomized(lfirst(lc));
	}
	PG_RETURN_POINTER(NULL);
}
