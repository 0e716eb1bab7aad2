/*
 * keyxact.c
 *	  What a key owes to the transaction that makes it.
 *
 * A value must never outlive its key.  A key made in a subtransaction goes
 * with ROLLBACK TO, while a PL/pgSQL variable that holds a value stays; a DO
 * block or a procedure outside a transaction block can end its transaction and
 * keep the value.  So a version seals within its own transaction only when
 * that made it at top level and is a transaction block.  And a commit that
 * makes a key is flushed before it is acknowledged, whatever
 * synchronous_commit says.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "utils/guc.h"
#include "utils/plancache.h"

#include "envcrypt.h"
#include "guc.h"
#include "keyxact.h"

/* Nesting level of the outermost transaction that made a key; 0 is none. */
static int	made_at_level;

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
}

static void
raise_synchronous_commit(void)
{
	if (synchronous_commit < SYNCHRONOUS_COMMIT_ON)
		set_local("synchronous_commit", "on");
}

void
envcrypt_key_made(void)
{
	int			level = GetCurrentTransactionNestLevel();

	ForceSyncCommit();
	raise_synchronous_commit();
	if (level == 1 && IsTransactionBlock())
	{
		envcrypt_guc_own_key_usable();
		set_local("envcrypt.own_key_usable", "on");
	}
	if (made_at_level == 0 || level < made_at_level)
		made_at_level = level;
}

/*
 * A parallel worker believes itself in a transaction block always; it takes
 * the answer its leader had when the key was made.
 */
static bool
in_block(void)
{
	return IsParallelWorker() ? envcrypt_own_key_usable : IsTransactionBlock();
}

void
envcrypt_require_committed(RowOrigin origin, const char *key)
{
	if (origin == ROW_COMMITTED || (origin == ROW_OWN_TOP && in_block()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("key \"%s\" was made or changed by this transaction and cannot seal values yet", key),
			 errhint("Commit first."),
			 errquiet()));
}

/*
 * A plan can hold a value that was folded into it while the key was there, by
 * a function that wrongly claims to be IMMUTABLE.  Have plans made again.
 */
static void
forget_key(void)
{
	if (made_at_level != 0)
		ResetPlanCache();
	made_at_level = 0;
}

static void
on_xact(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			/* it may have been lowered again */
			if (made_at_level != 0)
				raise_synchronous_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (made_at_level != 0)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("cannot PREPARE a transaction that has made a key"),
						 errhint("Use COMMIT: a value sealed with the key must not outlive a rollback of the prepared transaction."),
						 errquiet()));
			break;
		case XACT_EVENT_COMMIT:
			made_at_level = 0;
			break;
		case XACT_EVENT_ABORT:
			forget_key();
			break;
		default:
			break;
	}
}

static void
on_subxact(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (made_at_level < level)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_key();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		made_at_level = level - 1;
}

void
envcrypt_xact_init(void)
{
	RegisterXactCallback(on_xact, NULL);
	RegisterSubXactCallback(on_subxact, NULL);
}
