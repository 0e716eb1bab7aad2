/*
 * envcrypt.c
 *	  Module entry point.
 *
 * _PG_init may run in the postmaster, whose children inherit whatever it
 * made.  So it defines settings and installs hooks, and does no cryptography,
 * reads no file and draws no random byte.
 */
#include "postgres.h"

#include "envcrypt.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	envcrypt_guc_init();
	envcrypt_errors_init();
	envcrypt_guard_init();
	envcrypt_xact_init();
}
