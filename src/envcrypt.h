/*
 * envcrypt.h
 *	  Declarations shared by the PostgreSQL side of the extension.
 *
 * Every file that includes this one includes postgres.h first.  SQL functions
 * have the C name envcrypt_<name>: modules share one symbol table, and plain
 * "encrypt" is libc's.
 */
#ifndef ENVCRYPT_H
#define ENVCRYPT_H

#include "compat.h"
#include "core/version.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

#define ENVCRYPT_SCHEMA "envcrypt"

/* The type modifier of enc_bytea(deterministic); -1 is none. */
#define ENC_BYTEA_DETERMINISTIC 1

/*
 * Add to every ereport of ours: neither the statement nor its context, which
 * may hold the value, goes to the server log with it.  The schema's name says
 * so in the leader of a parallel query, see errors.c.
 */
#define errquiet() \
	(errhidestmt(true), errhidecontext(true), \
	 err_generic_string(PG_DIAG_SCHEMA_NAME, ENVCRYPT_SCHEMA))

/* Privileges on a key, as bits. */
#define KEY_PRIV_ENCRYPT	0x01
#define KEY_PRIV_DECRYPT	0x02
#define KEY_PRIV_SEARCH		0x04
#define KEY_PRIV_MANAGE		0x08
#define KEY_PRIV_ALL		0x0F

/* grants.c: the bit of a privilege's name, or 0 */
extern uint8 envcrypt_privilege_by_name(const char *name);

/* errors.c: the only mapping from core's codes to SQLSTATEs */
extern void envcrypt_throw(const evc_err *err) __attribute__((noreturn));
extern void envcrypt_throw_unavailable(const char *key, const evc_err *err) __attribute__((noreturn));

/* text.c: UTF-8 is what gets sealed, whatever the server encoding */
extern evc_bytes envcrypt_text_to_utf8(const char *s, size_t len);
extern text *envcrypt_text_from_utf8(text *utf8);

/* keycache.h has the cache; grants.c refuses in its name */
extern void envcrypt_throw_denied(const char *key, uint8 wanted) __attribute__((noreturn));
extern void envcrypt_throw_unknown_key(const char *key, size_t keylen) __attribute__((noreturn));

/* enc_context(): canonical context of parts given in the server encoding */
extern void envcrypt_context_append(StringInfo buf, const char *part, size_t len);

/* catalog.c */
extern Oid	envcrypt_schema_oid(void);	/* InvalidOid when not installed */
extern Oid	envcrypt_type_oid(void);	/* enc_bytea */
extern Oid	envcrypt_extension_oid(void);

/*
 * The algorithm number of a key, or 0 when there is no such key: for the
 * planner guard, which raises nothing of its own about keys.
 */
extern uint8 envcrypt_key_algorithm(const char *key, size_t keylen);

/*
 * unique.c: refuse (0A000) uniqueness over randomized values in a table or
 * index; children tells to look at its descendants too
 */
extern void envcrypt_check_uniqueness(Oid relid, bool children);

/* guc.c, errors.c, guard.c, keyxact.c: called by _PG_init in this order */
extern void envcrypt_guc_init(void);
extern void envcrypt_errors_init(void);
extern void envcrypt_guard_init(void);
extern void envcrypt_xact_init(void);

#endif							/* ENVCRYPT_H */
