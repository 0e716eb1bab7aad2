/*
 * ddl.h
 *	  The lines of a dump that are not data: types of opened columns are
 *	  changed, and what only envcrypt needs is left out if asked for.
 */
#ifndef CLI_DDL_H
#define CLI_DDL_H

#include "cli/rows.h"

typedef struct cli_ddl
{
	bool		without_envcrypt;	/* leave out the extension and its triggers */
	char	   *schema;			/* of the CREATE TABLE the line is in, or NULL */
	char	   *table;
	unsigned long long left_out;	/* statements */
	unsigned long long mentions;	/* lines that still name the schema envcrypt */
	unsigned long long first_mention;	/* its line number */
} cli_ddl;

/* Write the line, changed or not, or leave it out. */
EVC_MUST_USE extern evc_code cli_ddl_line(cli_job *job, cli_ddl *ddl, const char *line,
										  size_t len, unsigned long long number,
										  evc_err *err);

/* SCHEMA.TABLE or TABLE at *p, both to be freed; false when there is none. */
extern bool cli_read_table(const char **p, char **schema, char **table);

extern void cli_ddl_end(cli_ddl *ddl);

#endif							/* CLI_DDL_H */
