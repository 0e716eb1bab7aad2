/*
 * typed.h
 *	  Values of any type as canonical text: the same bytes whatever the
 *	  session's settings.
 */
#ifndef ENVCRYPT_TYPED_H
#define ENVCRYPT_TYPED_H

#include "fmgr.h"

/*
 * The canonical text of a value, in the server encoding, palloc'd.  The type's
 * output function is kept in caller->fn_extra.
 */
extern char *envcrypt_typed_output(FmgrInfo *caller, Oid type, Datum value);

/*
 * The value a canonical text stands for.  Raises 22023 "value is not a valid
 * <type>", never the type's own error, which would show the text.
 */
extern Datum envcrypt_typed_input(FmgrInfo *caller, Oid type, char *str);

/* Raise 22023 for a type that has a function of its own. */
extern void envcrypt_refuse_type(Oid type);

#endif							/* ENVCRYPT_TYPED_H */
