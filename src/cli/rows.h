/*
 * rows.h
 *	  Opening the sealed values of a row and writing the row.
 *
 * What is not opened is written as it came, byte for byte.
 */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include "cli/columns.h"
#include "cli/opener.h"

/* A field as it stands in the input. */
typedef struct cli_field
{
	const char *data;
	size_t		len;
} cli_field;

/* How fields are written: COPY's text form, or CSV. */
typedef struct cli_format
{
	char		delimiter;
	bool		(*is_null) (cli_field f);
	/* the text a field stands for; out has room for its length */
	size_t		(*decode) (cli_field f, char *out);
	/* write a text as a field */
	void		(*encode) (const char *text, size_t len);
} cli_format;

/* What is to be done with a column of the input. */
typedef struct cli_plan
{
	char	   *name;
	const cli_column *column;	/* NULL: not named */
	size_t		parts[CLI_MAX_PARTS];	/* index of the column, for those that name one */
} cli_plan;

typedef struct cli_table
{
	const char *title;			/* for messages */
	size_t		n;
	cli_plan   *plans;
	unsigned long long row;		/* the one being looked at, from 1 */
} cli_table;

typedef struct cli_job
{
	cli_opener *opener;
	cli_columns columns;
	bool		everything;		/* also columns that were not named */
	const cli_format *format;
	cli_table	table;
	unsigned long long rows;
	unsigned long long opened;
	unsigned long long failed;
	size_t		nfields;		/* of the row, and room for them */
	size_t		room;
	cli_field  *fields;
	cli_buf		text;			/* a field decoded */
	cli_buf		sealed;
	cli_buf		context;
	cli_buf		plain;
	cli_buf		rebuilt;		/* a field with values inside opened */
} cli_job;

extern void cli_job_free(cli_job *job);

/*
 * Begin a table with these columns, whose names become the job's.
 * EVC_BAD_ARG when a context names a column it has not.
 */
EVC_MUST_USE extern evc_code cli_table_begin(cli_job *job, const char *schema,
											 const char *table, const char *title,
											 char **names, size_t n, evc_err *err);
extern void cli_table_end(cli_job *job);

/* Collect the fields of a row, then open and write it, but not its line end. */
EVC_MUST_USE extern evc_code cli_row_field(cli_job *job, const char *data, size_t len,
										   evc_err *err);
EVC_MUST_USE extern evc_code cli_row_write(cli_job *job, evc_err *err);

/* Count a failure, and say so for the first few. */
extern void cli_job_complain(cli_job *job, const char *column, const char *why);

/* Put bytes on standard output. */
extern void cli_put(const char *data, size_t len);

#endif							/* CLI_ROWS_H */
