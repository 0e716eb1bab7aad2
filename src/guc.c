/*
 * guc.c
 *	  Settings.  Files are named here, never secrets; no SQL can choose one.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "envcrypt.h"
#include "guc.h"

char	   *envcrypt_local_key_file;
char	   *envcrypt_default_root_keys;
bool		envcrypt_allow_destroy;
bool		envcrypt_allow_maintenance_decrypt;

/*
 * Not for users: carries from the leader to its parallel workers, which cannot
 * see it for themselves, that a key made by this transaction may be used.
 */
bool		envcrypt_own_key_usable;

static void
define_strings(void)
{
	DefineCustomStringVariable("envcrypt.local_key_file",
							   gettext_noop("Sets the file that holds the root keys of the \"local\" endpoint."),
							   gettext_noop("A leading \"~\" is the home directory of the server's user."),
							   &envcrypt_local_key_file,
							   "~/.envcrypt/root-keys.json",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("envcrypt.default_root_keys",
							   gettext_noop("Sets the root keys of keys that are created without naming any."),
							   gettext_noop("A comma-separated list of ENDPOINT:KEY."),
							   &envcrypt_default_root_keys,
							   "local:default",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_LIST_INPUT, NULL, NULL, NULL);
}

static void
define_switches(void)
{
	DefineCustomBoolVariable("envcrypt.allow_destroy",
							 gettext_noop("Allows DROP EXTENSION envcrypt, which destroys every key of the database."),
							 NULL,
							 &envcrypt_allow_destroy,
							 false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("envcrypt.allow_maintenance_decrypt",
							 gettext_noop("Allows decrypt() in ANALYZE, index builds and materialized view refreshes."),
							 gettext_noop("What they compute is stored in clear."),
							 &envcrypt_allow_maintenance_decrypt,
							 false, PGC_SUSET, 0, NULL, NULL, NULL);
}

/*
 * Up to PostgreSQL 15 each setting costs a session that loads the library a
 * tenth of a millisecond, so this one waits until a key is made.  A parallel
 * worker defines it at once, to be given its leader's value.
 */
void
envcrypt_guc_own_key_usable(void)
{
	static bool defined = false;

	if (defined)
		return;
	DefineCustomBoolVariable("envcrypt.own_key_usable",
							 gettext_noop("Tells parallel workers that a key made by this transaction may be used."),
							 gettext_noop("Set by envcrypt itself."),
							 &envcrypt_own_key_usable,
							 false, PGC_SUSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							 NULL, NULL, NULL);
	defined = true;
}

void
envcrypt_guc_init(void)
{
	define_strings();
	define_switches();
	if (InitializingParallelWorker || process_shared_preload_libraries_in_progress)
		envcrypt_guc_own_key_usable();
	MarkGUCPrefixReserved("envcrypt");
}
