/*
 * columns.c
 *	  Reading --column and --bytea-column.
 */
#include "cli/columns.h"

#include <stdlib.h>
#include <string.h>

#define ENCODED "enc_context("

/* Between quotes, of which *p is the first. */
static char *
read_quoted(const char **p)
{
	char	   *out = malloc(strlen(*p) + 1);
	size_t		n = 0;

	if (out == NULL)
		return NULL;
	for (const char *s = *p + 1; *s != '\0'; s++)
	{
		if (*s == '"' && *++s != '"')
		{
			out[n] = '\0';
			*p = s;
			return out;
		}
		out[n++] = *s;
	}
	free(out);
	return NULL;
}

static char *
read_text(const char **p, const char *stops)
{
	size_t		len;
	char	   *out;

	if (**p == '"')
		return read_quoted(p);
	len = strcspn(*p, stops);
	out = strndup(*p, len);
	*p += len;
	return out;
}

char *
cli_read_name(const char **p, const char *stops)
{
	char	   *name = read_text(p, stops);

	if (name != NULL && name[0] == '\0')
	{
		free(name);
		return NULL;
	}
	return name;
}

static evc_code
bad_spec(const char *why, evc_err *err)
{
	return evc_fail(err, EVC_BAD_ARG,
					"%s: a column is written TABLE.COLUMN[=CONTEXT], see \"envcrypt decrypt --help\"", why);
}

static evc_code
read_part(const char **p, const char *stops, cli_column *column, evc_err *err)
{
	cli_part   *part = &column->parts[column->nparts];

	if (column->nparts == CLI_MAX_PARTS)
		return bad_spec("the context has too many parts", err);
	part->literal = **p == '=';
	if (part->literal)
		++*p;
	part->text = part->literal ? read_text(p, stops) : cli_read_name(p, stops);
	if (part->text == NULL)
		return bad_spec("a part of the context is missing, or its quote is not closed", err);
	column->nparts++;
	return EVC_OK;
}

static evc_code
read_context(const char *p, cli_column *column, evc_err *err)
{
	evc_code	code;

	column->encoded = strncmp(p, ENCODED, strlen(ENCODED)) == 0;
	if (column->encoded)
		p += strlen(ENCODED);
	code = read_part(&p, column->encoded ? ",)" : "", column, err);
	while (code == EVC_OK && column->encoded && *p == ',')
	{
		p++;
		code = read_part(&p, ",)", column, err);
	}
	if (code != EVC_OK)
		return code;
	if (column->encoded && *p++ != ')')
		return bad_spec("enc_context( has no )", err);
	if (*p != '\0')
		return bad_spec("there is something after the context", err);
	if (!column->encoded && column->parts[0].literal && column->parts[0].text[0] == '\0')
		return bad_spec("the context is empty", err);
	return EVC_OK;
}

/* One to three names with dots between them. */
static evc_code
read_names(const char **p, cli_column *column, evc_err *err)
{
	column->name = cli_read_name(p, ".=");
	while (column->name != NULL && **p == '.' && column->schema == NULL)
	{
		++*p;
		column->schema = column->table;
		column->table = column->name;
		column->name = cli_read_name(p, ".=");
	}
	if (column->name == NULL || **p == '.')
		return bad_spec("a name is missing, there are too many, or a quote is not closed", err);
	return EVC_OK;
}

static void
free_column(cli_column *column)
{
	free(column->schema);
	free(column->table);
	free(column->name);
	for (size_t i = 0; i < column->nparts; i++)
		free(column->parts[i].text);
}

evc_code
cli_columns_add(cli_columns *columns, const char *spec, bool bytea, evc_err *err)
{
	cli_column *grown = realloc(columns->all, (columns->n + 1) * sizeof(*grown));
	cli_column *column;
	evc_code	code;

	if (grown == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	columns->all = grown;
	column = &grown[columns->n++];	/* from here on cli_columns_free frees it */
	memset(column, 0, sizeof(*column));
	column->bytea = bytea;
	code = read_names(&spec, column, err);
	if (code != EVC_OK || *spec == '\0')
		return code;
	if (*spec != '=')
		return bad_spec("a name is followed by something else than . or =", err);
	return read_context(spec + 1, column, err);
}

void
cli_columns_free(cli_columns *columns)
{
	for (size_t i = 0; i < columns->n; i++)
		free_column(&columns->all[i]);
	free(columns->all);
	*columns = (cli_columns) {0, NULL};
}

static bool
same_or_any(const char *wanted, const char *name)
{
	return wanted == NULL || name == NULL || strcmp(wanted, name) == 0;
}

cli_column *
cli_columns_find(const cli_columns *columns, const char *schema, const char *table,
				 const char *name)
{
	for (size_t i = 0; i < columns->n; i++)
	{
		cli_column *c = &columns->all[i];

		if (strcmp(c->name, name) == 0 && same_or_any(c->table, table) &&
			same_or_any(c->schema, schema))
			return c;
	}
	return NULL;
}
