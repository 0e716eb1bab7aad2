/*
 * copy.h
 *	  The two kinds of input of "envcrypt decrypt".
 */
#ifndef CLI_COPY_H
#define CLI_COPY_H

#include "cli/ddl.h"
#include "cli/lines.h"
#include "cli/rows.h"

/* A plain-format dump: COPY blocks are opened, DDL passes through ddl.h. */
EVC_MUST_USE extern evc_code cli_dump(cli_job *job, cli_ddl *ddl, cli_lines *in, evc_err *err);

/* CSV with a header. */
EVC_MUST_USE extern evc_code cli_csv(cli_job *job, cli_lines *in, evc_err *err);

#endif							/* CLI_COPY_H */
