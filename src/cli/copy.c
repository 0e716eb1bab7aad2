/*
 * copy.c
 *	  A plain-format dump: rows of COPY blocks.
 *
 *	COPY schema.table (column, column) FROM stdin;
 *	field TAB field NEWLINE
 *	\.
 *
 * The text form of COPY has one line a row: newlines in a field are written \n.
 */
#include "cli/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
copy_is_null(cli_field f)
{
	return f.len == 2 && memcmp(f.data, "\\N", 2) == 0;
}

/* What COPY TO writes with a backslash; every other character is itself. */
static const char escapes[][2] = {
	{'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\v', 'v'}, {'\\', '\\'}
};

#define NESCAPES (sizeof(escapes) / sizeof(escapes[0]))

static size_t
copy_decode(cli_field f, char *out)
{
	size_t		n = 0;

	for (size_t i = 0; i < f.len; i++)
	{
		char		c = f.data[i];

		if (c == '\\' && i + 1 < f.len)
		{
			c = f.data[++i];
			for (size_t e = 0; e < NESCAPES; e++)
			{
				if (escapes[e][1] == f.data[i])
					c = escapes[e][0];
			}
		}
		out[n++] = c;
	}
	return n;
}

static void
copy_encode(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];
		bool		escaped = false;

		for (size_t e = 0; e < NESCAPES && !escaped; e++)
		{
			escaped = escapes[e][0] == c;
			if (escaped)
				c = escapes[e][1];
		}
		if (escaped)
			putchar_unlocked('\\');
		putchar_unlocked(c);
	}
}

static const cli_format copy_format = {'\t', copy_is_null, copy_decode, copy_encode};

typedef struct header
{
	char	   *schema;
	char	   *table;
	char	   *title;
	size_t		n;
	char	  **names;			/* the strings go to the job */
} header;

static void
free_header(header *h, bool names)
{
	for (size_t i = 0; names && i < h->n; i++)
		free(h->names[i]);
	free(h->names);
	free(h->schema);
	free(h->table);
	free(h->title);
	memset(h, 0, sizeof(*h));
}

/* (a, b, "C d") or nothing */
static bool
read_columns(const char **p, header *h)
{
	if (**p != '(')
		return true;
	do
	{
		char	  **grown = realloc(h->names, (h->n + 1) * sizeof(*grown));

		if (grown == NULL)
			return false;
		h->names = grown;
		*p += *p[0] == '(' ? 1 : 2;
		h->names[h->n] = cli_read_name(p, " ,()");
		if (h->names[h->n] == NULL)
			return false;
		h->n++;
	} while (strncmp(*p, ", ", 2) == 0);
	return *(*p)++ == ')';
}

/* Whether the line begins a block of rows. */
static bool
read_header(const char *line, header *h)
{
	const char *p = line;

	memset(h, 0, sizeof(*h));
	if (strncmp(p, "COPY ", 5) != 0)
		return false;
	p += 5;
	if (cli_read_table(&p, &h->schema, &h->table) && *p++ == ' ' && read_columns(&p, h) &&
		(strcmp(p, " FROM stdin;\n") == 0 || strcmp(p, " FROM stdin;\r\n") == 0) &&
		asprintf(&h->title, "table %s%s%s", h->schema != NULL ? h->schema : "",
				 h->schema != NULL ? "." : "", h->table) >= 0)
		return true;
	free_header(h, true);
	return false;
}

static evc_code
split_row(cli_job *job, const char *line, size_t len, evc_err *err)
{
	evc_code	code = EVC_OK;

	job->nfields = 0;
	for (;;)
	{
		const char *tab = memchr(line, '\t', len);
		size_t		n = tab != NULL ? (size_t) (tab - line) : len;

		code = cli_row_field(job, line, n, err);
		if (code != EVC_OK || tab == NULL)
			return code;
		line += n + 1;
		len -= n + 1;
	}
}

static bool
is_end(const cli_buf *line)
{
	return strcmp(line->data, "\\.\n") == 0 || strcmp(line->data, "\\.\r\n") == 0 ||
		strcmp(line->data, "\\.") == 0;
}

/* Rows up to and with the line that ends them; nothing is written when dropped. */
static evc_code
copy_rows(cli_job *job, cli_lines *in, bool drop, evc_err *err)
{
	evc_code	code;
	bool		got;

	while ((code = cli_lines_next(in, &got, err)) == EVC_OK && got)
	{
		size_t		len = in->line.len;

		if (is_end(&in->line))
		{
			if (!drop)
				cli_put(in->line.data, len);
			return EVC_OK;
		}
		if (drop)
			continue;
		if (len > 0 && in->line.data[len - 1] == '\n')
			len--;
		code = split_row(job, in->line.data, len, err);
		if (code == EVC_OK)
			code = cli_row_write(job, err);
		if (code != EVC_OK)
			return code;
		cli_put(in->line.data + len, in->line.len - len);
	}
	if (code == EVC_OK)
		code = evc_fail(err, EVC_FILE_FORMAT, "the dump ends within the rows of a table");
	return code;
}

static evc_code
copy_block(cli_job *job, cli_ddl *ddl, cli_lines *in, header *h, evc_err *err)
{
	bool		drop = ddl->without_envcrypt && h->schema != NULL &&
		strcmp(h->schema, "envcrypt") == 0;
	evc_code	code;

	if (drop)
		ddl->left_out++;
	else
		cli_put(in->line.data, in->line.len);
	code = cli_table_begin(job, h->schema, h->table, h->title, h->names, h->n, err);
	if (code == EVC_OK)
		code = copy_rows(job, in, drop, err);
	cli_table_end(job);
	free_header(h, false);
	return code;
}

/* Values are opened to UTF-8, so that is what the dump must be in. */
static evc_code
check_line(const char *line, evc_err *err)
{
	static const char setting[] = "SET client_encoding = '";

	if (strncmp(line, "PGDMP", 5) == 0)
		return evc_fail(err, EVC_FILE_FORMAT,
						"this is a dump in custom format: pg_restore -f - DUMP | envcrypt decrypt ..");
	if (strncmp(line, setting, strlen(setting)) != 0)
		return EVC_OK;
	line += strlen(setting);
	if (strncmp(line, "UTF8'", 5) == 0 || strncmp(line, "SQL_ASCII'", 10) == 0)
		return EVC_OK;
	return evc_fail(err, EVC_FILE_FORMAT, "the dump is not in UTF8: make it with pg_dump -E UTF8");
}

evc_code
cli_dump(cli_job *job, cli_ddl *ddl, cli_lines *in, evc_err *err)
{
	evc_code	code;
	header		h;
	bool		got;

	job->format = &copy_format;
	while ((code = cli_lines_next(in, &got, err)) == EVC_OK && got)
	{
		code = check_line(in->line.data, err);
		if (code == EVC_OK)
			code = read_header(in->line.data, &h) ? copy_block(job, ddl, in, &h, err) :
				cli_ddl_line(job, ddl, in->line.data, in->line.len, in->number, err);
		if (code != EVC_OK)
			break;
	}
	cli_ddl_end(ddl);
	return code;
}
