/*
 * keytables.h
 *	  Writing the key tables, which only this module and a restore may do.
 */
#ifndef ENVCRYPT_KEYTABLES_H
#define ENVCRYPT_KEYTABLES_H

#include "catalog.h"

/* A statement's parameters; types are those of the columns. */
#define WRITE_MAX_ARGS 10

typedef struct WriteArgs
{
	int			n;
	Oid			types[WRITE_MAX_ARGS];
	Datum		values[WRITE_MAX_ARGS];
	char		nulls[WRITE_MAX_ARGS];	/* 'n' is null */
} WriteArgs;

extern void envcrypt_arg(WriteArgs *args, Oid type, Datum value);
extern void envcrypt_arg_null(WriteArgs *args, Oid type);
extern void envcrypt_arg_text(WriteArgs *args, const char *value);
extern void envcrypt_arg_bytes(WriteArgs *args, const uint8 *value, size_t len);
extern void envcrypt_arg_names(WriteArgs *args, List *names);	/* text[] of char * */

/*
 * Run one INSERT, UPDATE or DELETE on the key tables as their owner, with
 * every name and operator in sql qualified.  Returns how many rows it changed.
 */
extern uint64 envcrypt_write(const char *sql, WriteArgs *args);

/*
 * The one value of a SELECT on the key tables, of a type of variable length,
 * in the caller's memory; read as they are now, by their owner.
 */
extern Datum envcrypt_query(const char *sql, WriteArgs *args);

/* One changer at a time for a key; held to the end of the transaction. */
extern void envcrypt_lock_key(const char *key);

/* Note an act in envcrypt.audit_log; detail is a JSON object. */
extern void envcrypt_audit(const char *action, const char *key, const char *detail);

#endif							/* ENVCRYPT_KEYTABLES_H */
