/*
 * rows.c
 *	  Opening the sealed values of a row and writing the row.
 *
 * A value that cannot be opened is left as it is, counted, and named by table,
 * column and row; its bytes are never shown.  Only lack of memory and the like
 * ends the run.
 */
#include "cli/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/utf8.h"
#include "core/codec.h"

#define MAX_COMPLAINTS	20

void
cli_put(const char *data, size_t len)
{
	(void) fwrite(data, 1, len, stdout);
}

void
cli_job_complain(cli_job *job, const char *column, const char *why)
{
	if (++job->failed > MAX_COMPLAINTS)
		return;
	fprintf(stderr, "envcrypt: %s, column %s, row %llu: %s\n", job->table.title, column,
			job->table.row, why);
	if (job->failed == MAX_COMPLAINTS)
		fputs("envcrypt: more of these are only counted\n", stderr);
}

/* ----- tables ----- */

void
cli_table_end(cli_job *job)
{
	for (size_t i = 0; i < job->table.n; i++)
		free(job->table.plans[i].name);
	free(job->table.plans);
	memset(&job->table, 0, sizeof(job->table));
}

void
cli_job_free(cli_job *job)
{
	cli_table_end(job);
	cli_columns_free(&job->columns);
	cli_opener_free(job->opener);
	free(job->fields);
	cli_buf_free(&job->text);
	cli_buf_free(&job->sealed);
	cli_buf_free(&job->context);
	cli_buf_free(&job->plain);
	cli_buf_free(&job->rebuilt);
}

/* Find the columns that a context is made of. */
static evc_code
resolve(cli_job *job, cli_plan *plan, evc_err *err)
{
	const cli_column *c = plan->column;

	for (size_t i = 0; i < c->nparts; i++)
	{
		size_t		at = 0;

		if (c->parts[i].literal)
			continue;
		while (at < job->table.n && strcmp(job->table.plans[at].name, c->parts[i].text) != 0)
			at++;
		if (at == job->table.n)
			return evc_fail(err, EVC_BAD_ARG, "%.60s has no column %.60s, which a context names",
							job->table.title, c->parts[i].text);
		plan->parts[i] = at;
	}
	return EVC_OK;
}

evc_code
cli_table_begin(cli_job *job, const char *schema, const char *table, const char *title,
				char **names, size_t n, evc_err *err)
{
	evc_code	code = EVC_OK;

	cli_table_end(job);
	job->table.title = title;
	job->table.plans = calloc(n + 1, sizeof(cli_plan));
	if (job->table.plans == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	job->table.n = n;
	for (size_t i = 0; i < n; i++)
		job->table.plans[i].name = names[i];
	for (size_t i = 0; i < n && code == EVC_OK; i++)
	{
		cli_column *c = cli_columns_find(&job->columns, schema, table, names[i]);

		job->table.plans[i].column = c;
		if (c == NULL)
			continue;
		c->seen = true;
		code = resolve(job, &job->table.plans[i], err);
	}
	return code;
}

/* ----- contexts ----- */

static evc_code
add_part(cli_job *job, const cli_plan *plan, size_t i, evc_err *err)
{
	const cli_part *part = &plan->column->parts[i];
	cli_field	f = {part->text, strlen(part->text)};
	char		length[32];
	evc_code	code;

	if (!part->literal)
	{
		if (plan->parts[i] < job->nfields)
			f = job->fields[plan->parts[i]];
		if (plan->parts[i] >= job->nfields || job->format->is_null(f))
			return evc_fail(err, EVC_CONTEXT_MISSING, "column %.60s, of which its context is made, is null",
							part->text);
		if ((code = cli_buf_reset(&job->text, f.len, err)) != EVC_OK)
			return code;
		job->text.len = job->format->decode(f, job->text.data);
		f = (cli_field) {job->text.data, job->text.len};
	}
	if (!plan->column->encoded)
		return cli_buf_add(&job->context, f.data, f.len, err);
	snprintf(length, sizeof(length), "%zu:", f.len);
	code = cli_buf_add(&job->context, length, strlen(length), err);
	if (code == EVC_OK)
		code = cli_buf_add(&job->context, f.data, f.len, err);
	return code == EVC_OK ? cli_buf_add(&job->context, ",", 1, err) : code;
}

/* Put the row's context together; *context stays NULL where there is none. */
static evc_code
make_context(cli_job *job, const cli_plan *plan, evc_bytes *bytes, const evc_bytes **context,
			 evc_err *err)
{
	evc_code	code = cli_buf_reset(&job->context, 0, err);

	if (plan->column == NULL || plan->column->nparts == 0)
		return code;
	for (size_t i = 0; i < plan->column->nparts && code == EVC_OK; i++)
		code = add_part(job, plan, i, err);
	*bytes = (evc_bytes) {(const uint8_t *) job->context.data, job->context.len};
	*context = bytes;
	return code;
}

/* ----- values ----- */

/* Plaintext that is no text is written as bytea writes it. */
static evc_code
plain_to_hex(cli_job *job, evc_err *err)
{
	cli_buf		swap = job->plain;
	evc_code	code = cli_buf_reset(&job->sealed, 2 * swap.len + 2, err);

	if (code != EVC_OK)
		return code;
	memcpy(job->sealed.data, "\\x", 2);
	evc_hex_encode((uint8_t *) swap.data, swap.len, job->sealed.data + 2);
	job->sealed.len = 2 * swap.len + 2;
	job->plain = job->sealed;
	job->sealed = swap;
	return EVC_OK;
}

/* Open the hex of one value into job->plain, as the text to be written. */
static evc_code
open_hex(cli_job *job, const cli_plan *plan, const char *text, size_t len,
		 const evc_bytes *context, evc_err *err)
{
	evc_envelope env;
	size_t		n = 0;
	evc_code	code = cli_buf_reset(&job->sealed, len / 2 + 1, err);

	if (code == EVC_OK)
		code = evc_envelope_from_text(text, len, (uint8_t *) job->sealed.data, len / 2, &n, err);
	if (code != EVC_OK)
		return code;
	job->sealed.len = n;
	if ((code = evc_envelope_parse((uint8_t *) job->sealed.data, n, &env, err)) != EVC_OK ||
		(code = cli_open(job->opener, &env, context, &job->plain, err)) != EVC_OK)
		return code;
	if (plan->column != NULL && plan->column->bytea)
		return plain_to_hex(job, err);
	if (!cli_is_text(job->plain.data, job->plain.len))
		return evc_fail(err, EVC_BAD_ARG, "it holds bytes that are no text: name it with --bytea-column");
	return EVC_OK;
}

/* In arrays and composite values, quotes and backslashes are escaped. */
static evc_code
add_inner(cli_job *job, evc_err *err)
{
	evc_code	code = cli_buf_reserve(&job->rebuilt, 2 * job->plain.len + 2, err);

	for (size_t i = 0; i < job->plain.len && code == EVC_OK; i++)
	{
		if (job->plain.data[i] == '"' || job->plain.data[i] == '\\')
			code = cli_buf_add(&job->rebuilt, "\\", 1, err);
		if (code == EVC_OK)
			code = cli_buf_add(&job->rebuilt, &job->plain.data[i], 1, err);
	}
	return code;
}

/* The length of "\\x.." with its quotes at p, or 0. */
static size_t
inner_len(const char *p, size_t left)
{
	size_t		n = 4;

	if (left < 6 || memcmp(p, "\"\\\\x", 4) != 0)
		return 0;
	while (n < left && ((p[n] >= '0' && p[n] <= '9') || (p[n] >= 'a' && p[n] <= 'f')))
		n++;
	return n < left && p[n] == '"' ? n + 1 : 0;
}

/* What failed is a failure of the value, unless the run cannot go on. */
static bool
is_fatal(evc_code code)
{
	return code == EVC_NO_MEMORY || code == EVC_CRYPTO;
}

static evc_code
open_inner(cli_job *job, const cli_plan *plan, const char *p, size_t len,
		   const evc_bytes *context, bool *opened, evc_err *err)
{
	evc_err		why = EVC_ERR_INIT;
	/* p + 2 is \x.., as it stands between the quotes */
	evc_code	code = open_hex(job, plan, p + 2, len - 3, context, &why);

	if (is_fatal(code))
		return evc_fail(err, code, "%s", why.msg);
	if (code != EVC_OK)
	{
		cli_job_complain(job, plan->name, why.msg);
		return cli_buf_add(&job->rebuilt, p, len, err);
	}
	job->opened++;
	*opened = true;
	if ((code = cli_buf_add(&job->rebuilt, "\"", 1, err)) == EVC_OK)
		code = add_inner(job, err);
	return code == EVC_OK ? cli_buf_add(&job->rebuilt, "\"", 1, err) : code;
}

/* An array or composite value, decoded in job->text: open the values in it. */
static evc_code
open_inside(cli_job *job, const cli_plan *plan, const evc_bytes *context, bool *opened,
			evc_err *err)
{
	const char *p = job->text.data;
	size_t		left = job->text.len;
	evc_code	code = cli_buf_reset(&job->rebuilt, left, err);

	*opened = false;
	while (left > 0 && code == EVC_OK)
	{
		size_t		n = *p == '"' ? inner_len(p, left) : 0;

		if (n > 0)
			code = open_inner(job, plan, p, n, context, opened, err);
		else
		{
			if (left >= 5 && memcmp(p, "\\xec0", 5) == 0)
				cli_job_complain(job, plan->name, "a sealed value is nested too deep to be opened");
			code = cli_buf_add(&job->rebuilt, p, n = 1, err);
		}
		p += n;
		left -= n;
	}
	return code;
}

/* ----- rows ----- */

static bool
is_nest(const char *text, size_t len)
{
	return len > 0 && (text[0] == '{' || text[0] == '(') && memmem(text, len, "\\xec0", 5) != NULL;
}

/* Without decoding it: could this be a sealed value, or hold one? */
static bool
is_candidate(cli_field f)
{
	size_t		skip = 0;

	while (skip < f.len && (f.data[skip] == '"' || f.data[skip] == '\\'))
		skip++;
	if (f.len - skip >= 4 && skip > 0 && memcmp(f.data + skip, "xec0", 4) == 0)
		return true;
	return skip < f.len && (f.data[skip] == '{' || f.data[skip] == '(') &&
		memmem(f.data, f.len, "xec0", 4) != NULL;
}

/* Sets *out to what is to be written in the field's place, or leaves it NULL. */
static evc_code
open_field(cli_job *job, const cli_plan *plan, cli_field f, const cli_buf **out, evc_err *err)
{
	evc_bytes	bytes;
	const evc_bytes *context = NULL;
	evc_err		why = EVC_ERR_INIT;
	bool		opened = false;
	evc_code	code = make_context(job, plan, &bytes, &context, &why);

	if (code == EVC_OK)
		code = cli_buf_reset(&job->text, f.len, &why);
	if (code == EVC_OK)
	{
		job->text.len = job->format->decode(f, job->text.data);
		if (is_nest(job->text.data, job->text.len))
		{
			code = open_inside(job, plan, context, &opened, err);
			*out = opened ? &job->rebuilt : NULL;
			return code;
		}
		code = open_hex(job, plan, job->text.data, job->text.len, context, &why);
	}
	if (is_fatal(code))
		return evc_fail(err, code, "%s", why.msg);
	if (code == EVC_MALFORMED && plan->column == NULL)
		return EVC_OK;
	if (code != EVC_OK)
		cli_job_complain(job, plan->name, why.msg);
	else
	{
		job->opened++;
		*out = &job->plain;
	}
	return EVC_OK;
}

evc_code
cli_row_field(cli_job *job, const char *data, size_t len, evc_err *err)
{
	if (job->nfields == job->room)
	{
		size_t		room = job->room == 0 ? 64 : 2 * job->room;
		cli_field  *grown = realloc(job->fields, room * sizeof(*grown));

		if (grown == NULL)
			return evc_fail(err, EVC_NO_MEMORY, "out of memory");
		job->fields = grown;
		job->room = room;
	}
	job->fields[job->nfields++] = (cli_field) {data, len};
	return EVC_OK;
}

/* Columns that were not named, and fields the header has no name for. */
static bool
is_wanted(const cli_job *job, const cli_plan *plan, cli_field f)
{
	if (job->format->is_null(f))
		return false;
	return plan->column != NULL || (job->everything && is_candidate(f));
}

static evc_code
write_field(cli_job *job, size_t i, evc_err *err)
{
	static const cli_plan nameless = {.name = (char *) "(not in the header)"};
	const cli_plan *plan = i < job->table.n ? &job->table.plans[i] : &nameless;
	cli_field	f = job->fields[i];
	const cli_buf *out = NULL;
	evc_code	code = EVC_OK;

	if (is_wanted(job, plan, f))
		code = open_field(job, plan, f, &out, err);
	if (code != EVC_OK)
		return code;
	if (i > 0)
		cli_put(&job->format->delimiter, 1);
	if (out != NULL)
		job->format->encode(out->data, out->len);
	else
		cli_put(f.data, f.len);
	return EVC_OK;
}

evc_code
cli_row_write(cli_job *job, evc_err *err)
{
	evc_code	code = EVC_OK;

	job->table.row++;
	job->rows++;
	if (job->nfields < job->table.n)
		cli_job_complain(job, "(all)", "the row has fewer columns than the header");
	for (size_t i = 0; i < job->nfields && code == EVC_OK; i++)
		code = write_field(job, i, err);
	job->nfields = 0;
	if (code == EVC_OK && ferror(stdout))
		code = evc_fail(err, EVC_FILE_ERROR, "cannot write to standard output");
	return code;
}
