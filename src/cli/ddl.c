/*
 * ddl.c
 *	  The lines of a dump that are not data.
 *
 * pg_dump writes one column a line inside CREATE TABLE, and what is left out
 * in one line each.  Whatever is not recognized passes as it is.
 */
#include "cli/ddl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA			"envcrypt."
#define TYPE			SCHEMA "enc_bytea"
#define DETERMINISTIC	"(deterministic)"

static bool
begins(const char *line, const char *with)
{
	return strncmp(line, with, strlen(with)) == 0;
}

void
cli_ddl_end(cli_ddl *ddl)
{
	free(ddl->schema);
	free(ddl->table);
	ddl->schema = ddl->table = NULL;
}

bool
cli_read_table(const char **p, char **schema, char **table)
{
	*schema = NULL;
	*table = cli_read_name(p, " .,()");
	if (*table != NULL && **p == '.')
	{
		++*p;
		*schema = *table;
		*table = cli_read_name(p, " .,()");
	}
	if (*table != NULL)
		return true;
	free(*schema);
	*schema = NULL;
	return false;
}

/* CREATE [UNLOGGED|FOREIGN] TABLE name ( */
static void
enter_table(cli_ddl *ddl, const char *line)
{
	static const char *const starts[] = {
		"CREATE TABLE ", "CREATE UNLOGGED TABLE ", "CREATE FOREIGN TABLE "
	};

	if (line[0] == ')')
		cli_ddl_end(ddl);
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
	{
		const char *p = line + strlen(starts[i]);

		if (!begins(line, starts[i]))
			continue;
		cli_ddl_end(ddl);
		if (!cli_read_table(&p, &ddl->schema, &ddl->table) || strcmp(p, " (\n") != 0)
			cli_ddl_end(ddl);
	}
}

/* The column the line defines, if one was named; inside CREATE TABLE only. */
static const cli_column *
defined_column(const cli_job *job, const cli_ddl *ddl, const char *line)
{
	const cli_column *column;
	char	   *name;

	if (ddl->table == NULL || !begins(line, "    "))
		return NULL;
	line += 4;
	name = cli_read_name(&line, " ");
	if (name == NULL)
		return NULL;
	column = cli_columns_find(&job->columns, ddl->schema, ddl->table, name);
	free(name);
	return column;
}

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '_' || c == '$' || c == '.' || c == '"' || (c & 0x80) != 0;
}

static bool
put_piece(const char *from, const char *to)
{
	size_t		len = (size_t) (to - from);

	cli_put(from, len);
	return memmem(from, len, SCHEMA, strlen(SCHEMA)) != NULL;
}

/*
 * Write the line with another type in place of enc_bytea.  Returns whether it
 * names something else of envcrypt.
 */
static bool
write_with_type(const char *line, const char *type)
{
	const char *from = line;
	const char *at;
	bool		more = false;

	while ((at = strstr(from, TYPE)) != NULL)
	{
		const char *end = at + strlen(TYPE);
		bool		whole = (at == line || !is_name_char(at[-1])) && !is_name_char(*end);

		if (whole && begins(end, DETERMINISTIC))
			end += strlen(DETERMINISTIC);
		more |= put_piece(from, whole ? at : end);
		if (whole)
			cli_put(type, strlen(type));
		from = end;
	}
	return put_piece(from, from + strlen(from)) || more;
}

static bool
is_left_out(const char *line)
{
	static const char *const starts[] = {
		"CREATE EXTENSION IF NOT EXISTS envcrypt ", "COMMENT ON EXTENSION envcrypt ",
		"DROP EXTENSION envcrypt;", "DROP EXTENSION IF EXISTS envcrypt;"
	};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
	{
		if (begins(line, starts[i]))
			return true;
	}
	return begins(line, "CREATE TRIGGER ") &&
		strstr(line, " EXECUTE FUNCTION envcrypt.encrypt_trigger(") != NULL;
}

/* What is sealed here is in no row: --inserts, or a default. */
static void
note_sealed(cli_job *job, const char *line, unsigned long long number)
{
	if (strstr(line, "\\xec0") == NULL)
		return;
	if (job->failed++ == 0)
		fprintf(stderr, "envcrypt: line %llu, outside COPY data, holds a sealed value, which is left as it is; dump without --inserts\n",
				number);
}

evc_code
cli_ddl_line(cli_job *job, cli_ddl *ddl, const char *line, size_t len,
			 unsigned long long number, evc_err *err)
{
	const cli_column *column;
	bool		mention;

	if (strlen(line) != len)
		return evc_fail(err, EVC_BAD_ARG, "line %llu holds a NUL: this is no plain dump", number);
	note_sealed(job, line, number);
	if (ddl->without_envcrypt && is_left_out(line))
	{
		ddl->left_out++;
		return EVC_OK;
	}
	enter_table(ddl, line);
	column = defined_column(job, ddl, line);
	if (column != NULL || job->everything)
		mention = write_with_type(line, column != NULL && column->bytea ? "bytea" : "text");
	else
		mention = put_piece(line, line + len);
	if (mention && !begins(line, "--") && ddl->mentions++ == 0)
		ddl->first_mention = number;
	return EVC_OK;
}
