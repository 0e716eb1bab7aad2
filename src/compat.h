/*
 * compat.h
 *	  What differs between PostgreSQL 15, 16, 17 and 18.
 *
 * Every PG_VERSION_NUM test of the tree is here.  Included after postgres.h,
 * by the files that need it.
 */
#ifndef ENVCRYPT_COMPAT_H
#define ENVCRYPT_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "envcrypt needs PostgreSQL 15 or later"
#endif

/* VARDATA and its family, part of postgres.h in 15 */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* this process's local transaction number; for callers that include storage/proc.h */
#if PG_VERSION_NUM >= 170000
#define compat_lxid() (MyProc->vxid.lxid)
#else
#define compat_lxid() (MyProc->lxid)
#endif

/* for callers that include commands/vacuum.h */
#if PG_VERSION_NUM >= 180000
#define compat_analyze_delay_point() vacuum_delay_point(true)
#else
#define compat_analyze_delay_point() vacuum_delay_point()
#endif

/* for callers that include commands/trigger.h */
#if PG_VERSION_NUM >= 160000
#define compat_enable_always(rel, tgname, lockmode) \
	EnableDisableTrigger(rel, tgname, InvalidOid, TRIGGER_FIRES_ALWAYS, false, false, lockmode)
#else
#define compat_enable_always(rel, tgname, lockmode) \
	EnableDisableTrigger(rel, tgname, TRIGGER_FIRES_ALWAYS, false, lockmode)
#endif

#endif							/* ENVCRYPT_COMPAT_H */
