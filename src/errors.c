/*
 * errors.c
 *	  The only mapping from core's codes to SQLSTATEs.
 *
 * Everything that can be wrong with an authentic-looking value (its tag, its
 * context, its padding, its suite) is one error with one message, so that no
 * caller learns which.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"

#include "envcrypt.h"
#include "guc.h"

static emit_log_hook_type prev_emit_log;

/* Files of ours that raise errors; no file of the server's has these names. */
static const char *const own_files[] = {
	"check.c", "enc_bytea.c", "encrypt_trigger.c", "errors.c", "exportread.c", "grants.c", "guard.c", "info.c",
	"keyadmin.c", "keycache.c", "keyexport.c", "keyimport.c", "keytables.c", "keyxact.c", "open.c",
	"seal.c", "support.c", "text.c", "typed.c", "unique.c"
};

static bool
is_ours(const ErrorData *edata)
{
	if (edata->schema_name == NULL || strcmp(edata->schema_name, ENVCRYPT_SCHEMA) != 0 ||
		edata->filename == NULL)
		return false;
	for (int i = 0; i < (int) lengthof(own_files); i++)
		if (strcmp(edata->filename, own_files[i]) == 0)
			return true;
	return false;
}

/*
 * What errquiet() asks for is lost on the way from a parallel worker to its
 * leader, which then raises the error as its own and would log the statement.
 * The schema's name arrives, and so does the file's, which nobody can choose.
 */
static void
emit_log(ErrorData *edata)
{
	if (is_ours(edata))
		edata->hide_stmt = edata->hide_ctx = true;
	if (prev_emit_log)
		prev_emit_log(edata);
}

void
envcrypt_errors_init(void)
{
	prev_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
}

static int
sqlstate_of(evc_code code)
{
	switch (code)
	{
		case EVC_OK:
		case EVC_CRYPTO:
			break;
		case EVC_MALFORMED:
			return ERRCODE_INVALID_BINARY_REPRESENTATION;
		case EVC_NEWER_SUITE:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case EVC_BAD_ARG:
		case EVC_CONTEXT_EMPTY:
		case EVC_CONTEXT_MISSING:
		case EVC_CONTEXT_NEEDLESS:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case EVC_WRONG_SUITE:
		case EVC_AUTH_FAILED:
			return ERRCODE_DATA_EXCEPTION;
		case EVC_NO_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case EVC_TOO_LONG:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case EVC_RANDOM_FAILED:
		case EVC_FILE_MISSING:
		case EVC_FILE_EXISTS:
		case EVC_FILE_ERROR:
		case EVC_FILE_UNSAFE:
		case EVC_FILE_FORMAT:
		case EVC_NO_ROOT_KEY:
		case EVC_ROOT_KEY_DISABLED:
		case EVC_BAD_WRAP:
		case EVC_BAD_COMMITMENT:
			return ERRCODE_SYSTEM_ERROR;
	}
	return ERRCODE_INTERNAL_ERROR;
}

/* Within ereport: what a person can do about it, where there is something. */
static int
give_hint(evc_code code)
{
	switch (code)
	{
		case EVC_MALFORMED:
			return errhint("A column of type enc_bytea takes sealed values: encrypt(value, key). To look one up: column = ANY (search_terms(value, key)).");
		case EVC_CONTEXT_EMPTY:
			return errhint("Leave the argument out where no context was bound.");
		case EVC_CONTEXT_MISSING:
			return errhint("Give the context it was sealed with as the last argument.");
		case EVC_CONTEXT_NEEDLESS:
			return errhint("Leave the context out: this value was sealed without one.");
		case EVC_FILE_MISSING:
			return errhint("If this server never had a key file, make one as the server's user: envcrypt keygen %s. Otherwise restore its copy: a new file opens nothing that the old one sealed.",
						   envcrypt_local_key_file);
		case EVC_FILE_UNSAFE:
			return errhint("The file must belong to the server's user with mode 0600, in directories that nobody else can write to, outside the data directory.");
		case EVC_FILE_FORMAT:
			return errhint("Restore the key file from its copy; \"envcrypt keygen --verify FILE\" checks it.");
		case EVC_NO_ROOT_KEY:
			return errhint("Restore the copy of the key file that holds it. A root key that never was is made with \"envcrypt keygen --add --name NAME\".");
		case EVC_BAD_WRAP:
		case EVC_BAD_COMMITMENT:
			return errhint("The key file is not the one this key was made with, or the key tables were altered.");
		default:
			return 0;
	}
}

void
envcrypt_throw(const evc_err *err)
{
	if (err->code == EVC_AUTH_FAILED || err->code == EVC_WRONG_SUITE)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("could not decrypt value"),
				 errhint("The context is not the one it was sealed with, or the value was modified."),
				 errquiet()));
	ereport(ERROR,
			(errcode(sqlstate_of(err->code)),
			 errmsg("%s", err->msg),
			 give_hint(err->code),
			 errquiet()));
}

/* Where the key file lies is for those who may read the setting. */
static bool
may_see_files(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_SETTINGS);
}

/*
 * The key is there and allowed, its secret is not: an outage, which a caller
 * may try again.
 */
void
envcrypt_throw_unavailable(const char *key, const evc_err *err)
{
	if (!may_see_files())
		ereport(ERROR,
				(errcode(sqlstate_of(err->code)),
				 errmsg("key \"%s\" is unavailable", key),
				 errdetail_log("%s.", err->msg),
				 errhint("The server's log says why; whoever runs the server can mend it."),
				 errquiet()));
	ereport(ERROR,
			(errcode(sqlstate_of(err->code)),
			 errmsg("key \"%s\" is unavailable", key),
			 errdetail("%s.", err->msg),
			 give_hint(err->code),
			 errquiet()));
}
