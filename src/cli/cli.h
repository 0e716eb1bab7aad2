/*
 * cli.h
 *	  Shared by the subcommands of the envcrypt command-line tool.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "core/evc.h"

/* What the tool ends with. */
#define CLI_OK		0
#define CLI_FAILED	1
#define CLI_USAGE	2

/* Each gets its own name as argv[0] and returns an exit status. */
extern int	cli_keygen(int argc, char **argv);
extern int	cli_inspect(int argc, char **argv);
extern int	cli_keyring(int argc, char **argv);
extern int	cli_decrypt(int argc, char **argv);
extern int	cli_check(int argc, char **argv);	/* its statuses are its own */

/* What --help prints behind them. */
extern const char cli_keyring_help[];
extern const char cli_decrypt_help[];

/* Say on standard error what failed, or how to ask; return the exit status. */
extern int	cli_fail(const evc_err *err);
extern int	cli_usage(const char *fmt,...) __attribute__((format(printf, 1, 2)));

#endif							/* CLI_CLI_H */
