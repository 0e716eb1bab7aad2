/*
 * columns.h
 *	  The columns that "envcrypt decrypt" was told to open, and the contexts
 *	  their values were bound to.
 *
 *	[[SCHEMA.]TABLE.]COLUMN[=CONTEXT]
 *	CONTEXT: PART | enc_context(PART,..)
 *	PART:    COLUMN, whose text in the same row counts | =LITERAL
 *
 * Parts are written as for encrypt_trigger().  Names and literals can be put
 * in double quotes, a quote inside them doubled; names are taken as written.
 */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H

#include "core/evc.h"

#define CLI_MAX_PARTS 16

typedef struct cli_part
{
	bool		literal;
	char	   *text;			/* the literal, or a column's name */
} cli_part;

typedef struct cli_column
{
	char	   *schema;			/* NULL: any */
	char	   *table;			/* NULL: any */
	char	   *name;
	bool		bytea;			/* written as bytes, not text */
	bool		encoded;		/* enc_context(..), even of one part */
	bool		seen;			/* a table or header that has it went by */
	size_t		nparts;			/* 0: no context */
	cli_part	parts[CLI_MAX_PARTS];
} cli_column;

typedef struct cli_columns
{
	size_t		n;
	cli_column *all;
} cli_columns;

/* A name of the forms above, to be freed; NULL when there is none.  Moves *p. */
extern char *cli_read_name(const char **p, const char *stops);

/* Add what was said in one option; EVC_BAD_ARG says what is wrong with it. */
EVC_MUST_USE extern evc_code cli_columns_add(cli_columns *columns, const char *spec,
											 bool bytea, evc_err *err);
extern void cli_columns_free(cli_columns *columns);

/* The one that names this column, or NULL; schema and table NULL in CSV. */
extern cli_column *cli_columns_find(const cli_columns *columns, const char *schema,
									const char *table, const char *name);

#endif							/* CLI_COLUMNS_H */
