/*
 * lines.c
 *	  Reading a stream line by line.
 */
#include "cli/lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static evc_code
fill(cli_lines *in, evc_err *err)
{
	ssize_t		n;

	do
	{
		n = read(in->fd, in->chunk, sizeof(in->chunk));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return evc_fail_errno(err, EVC_FILE_ERROR, errno, "cannot read the input: %s",
							  strerror(errno));
	in->at = 0;
	in->end = (size_t) n;
	return EVC_OK;
}

evc_code
cli_lines_more(cli_lines *in, bool *got, evc_err *err)
{
	bool		ended = false;
	evc_code	code;

	*got = false;
	while (!ended)
	{
		const char *start;
		const char *newline;
		size_t		n;

		code = in->at < in->end ? EVC_OK : fill(in, err);
		if (code != EVC_OK)
			return code;
		if (in->end == 0)
			break;
		start = in->chunk + in->at;
		newline = memchr(start, '\n', in->end - in->at);
		ended = newline != NULL;
		n = ended ? (size_t) (newline + 1 - start) : in->end - in->at;
		if (in->line.len + n > CLI_LINE_MAX)
			return evc_fail(err, EVC_TOO_LONG, "line %llu is longer than 1 GB", in->number + 1);
		if ((code = cli_buf_add(&in->line, start, n, err)) != EVC_OK)
			return code;
		in->at += n;
		in->number += !*got;
		*got = true;
	}
	code = cli_buf_reserve(&in->line, 1, err);
	if (code == EVC_OK)
		in->line.data[in->line.len] = '\0';
	return code;
}

evc_code
cli_lines_next(cli_lines *in, bool *got, evc_err *err)
{
	in->line.len = 0;
	return cli_lines_more(in, got, err);
}
