/*
 * csv.c
 *	  CSV with a header, as COPY .. WITH (FORMAT csv, HEADER) writes it.
 *
 * A record may have newlines between quotes.  An empty field without quotes
 * is NULL; what is opened is always written with quotes.
 */
#include "cli/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
csv_is_null(cli_field f)
{
	return f.len == 0;
}

static size_t
csv_decode(cli_field f, char *out)
{
	bool		quoted = false;
	size_t		n = 0;

	for (size_t i = 0; i < f.len; i++)
	{
		if (f.data[i] != '"')
			out[n++] = f.data[i];
		else if (quoted && i + 1 < f.len && f.data[i + 1] == '"')
			out[n++] = f.data[i++];
		else
			quoted = !quoted;
	}
	return n;
}

static void
csv_encode(const char *text, size_t len)
{
	putchar_unlocked('"');
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '"')
			putchar_unlocked('"');
		putchar_unlocked(text[i]);
	}
	putchar_unlocked('"');
}

static const cli_format csv_format = {',', csv_is_null, csv_decode, csv_encode};

/* Whether a quote is open at the end; an escaped quote is two. */
static bool
is_open(const char *p, size_t len, bool open)
{
	const char *end = p + len;

	while ((p = memchr(p, '"', (size_t) (end - p))) != NULL)
	{
		open = !open;
		p++;
	}
	return open;
}

/* Read a record into in->line. */
static evc_code
next_record(cli_lines *in, bool *got, evc_err *err)
{
	evc_code	code = cli_lines_next(in, got, err);
	size_t		seen = 0;
	bool		open = false;
	bool		more = *got;

	while (code == EVC_OK && more)
	{
		open = is_open(in->line.data + seen, in->line.len - seen, open);
		if (!open)
			return EVC_OK;
		seen = in->line.len;
		code = cli_lines_more(in, &more, err);
	}
	if (code == EVC_OK && open)
		code = evc_fail(err, EVC_FILE_FORMAT, "the input ends within quotes");
	return code;
}

/* The record without its line end. */
static size_t
record_len(const cli_buf *line)
{
	size_t		len = line->len;

	if (len > 0 && line->data[len - 1] == '\n')
		len--;
	if (len > 0 && line->data[len - 1] == '\r')
		len--;
	return len;
}

static evc_code
split_record(cli_job *job, const char *p, size_t len, evc_err *err)
{
	bool		quoted = false;
	size_t		start = 0;
	evc_code	code = EVC_OK;

	job->nfields = 0;
	for (size_t i = 0; i < len && code == EVC_OK; i++)
	{
		if (p[i] == '"')
			quoted = !quoted;
		if (p[i] != ',' || quoted)
			continue;
		code = cli_row_field(job, p + start, i - start, err);
		start = i + 1;
	}
	return code == EVC_OK ? cli_row_field(job, p + start, len - start, err) : code;
}

static evc_code
begin_header(cli_job *job, evc_err *err)
{
	char	  **names = calloc(job->nfields, sizeof(*names));
	evc_code	code = names != NULL ? EVC_OK : evc_fail(err, EVC_NO_MEMORY, "out of memory");
	size_t		n = 0;

	while (code == EVC_OK && n < job->nfields)
	{
		cli_field	f = job->fields[n];

		names[n] = malloc(f.len + 1);
		if (names[n] == NULL)
			code = evc_fail(err, EVC_NO_MEMORY, "out of memory");
		else
			names[n][csv_decode(f, names[n])] = '\0';
		n += code == EVC_OK;
	}
	if (code == EVC_OK)
		code = cli_table_begin(job, NULL, NULL, "the input", names, n, err);
	else
		while (n > 0)
			free(names[--n]);
	free(names);
	job->nfields = 0;
	return code;
}

static evc_code
read_header(cli_job *job, cli_lines *in, evc_err *err)
{
	static const char bom[] = "\xef\xbb\xbf";
	size_t		skip;
	bool		got;
	evc_code	code = next_record(in, &got, err);

	if (code == EVC_OK && !got)
		return evc_fail(err, EVC_FILE_FORMAT, "the input has no header");
	if (code != EVC_OK)
		return code;
	skip = strncmp(in->line.data, bom, 3) == 0 ? 3 : 0;
	code = split_record(job, in->line.data + skip, record_len(&in->line) - skip, err);
	if (code == EVC_OK)
		code = begin_header(job, err);
	cli_put(in->line.data, in->line.len);
	return code;
}

evc_code
cli_csv(cli_job *job, cli_lines *in, evc_err *err)
{
	bool		got = true;
	evc_code	code;

	job->format = &csv_format;
	code = read_header(job, in, err);
	while (code == EVC_OK && (code = next_record(in, &got, err)) == EVC_OK && got)
	{
		size_t		len = record_len(&in->line);

		code = split_record(job, in->line.data, len, err);
		if (code == EVC_OK)
			code = cli_row_write(job, err);
		if (code == EVC_OK)
			cli_put(in->line.data + len, in->line.len - len);
	}
	cli_table_end(job);
	return code;
}
