/*
 * lines.h
 *	  A stream, line by line, of which no more than a line is in memory.
 */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include "cli/buf.h"

/* A row of COPY has at most 1 GB, as PostgreSQL has it. */
#define CLI_LINE_MAX	((size_t) 1 << 30)

typedef struct cli_lines
{
	int			fd;
	unsigned long long number;	/* of the line read last, from 1 */
	size_t		at;
	size_t		end;
	cli_buf		line;			/* its newline too, unless the stream ended; then NUL */
	char		chunk[65536];
} cli_lines;

/* Read the next line; *got is false at the end.  EVC_TOO_LONG beyond the limit. */
EVC_MUST_USE extern evc_code cli_lines_next(cli_lines *in, bool *got, evc_err *err);

/* The same, behind the line that is there: a record that has newlines in it. */
EVC_MUST_USE extern evc_code cli_lines_more(cli_lines *in, bool *got, evc_err *err);

#endif							/* CLI_LINES_H */
