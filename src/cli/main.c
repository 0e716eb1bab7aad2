/*
 * main.c
 *	  The envcrypt command-line tool: makes and checks the local key file,
 *	  checks exports of keys, and opens dumps, which needs no server; and tells
 *	  what envcrypt.check() finds, which does.
 *
 * docs/man/envcrypt.1 is its manual.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "cli/cli.h"

static const char help[] =
"envcrypt makes and checks the root keys of the envcrypt extension, and opens its\n"
"values without it.\n"
"\n"
"Usage:\n"
"  envcrypt keygen [FILE] [--name NAME]        make a key file with one root key\n"
"  envcrypt keygen [FILE] --add --name NAME    add a root key to a key file\n"
"  envcrypt keygen [FILE] --verify             check a key file as the server does\n"
"  envcrypt inspect HEX                        show the header of a sealed value\n"
"  envcrypt inspect -                          the same, read from standard input\n"
"  envcrypt keyring verify EXPORT              open every wrap of an export of keys\n"
"  envcrypt decrypt --keyring EXPORT ..        open the values of a dump or CSV\n"
"  envcrypt check [--dbname CONNINFO].. [--psql PATH]\n"
"                                              what is wrong in these databases\n"
"  envcrypt COMMAND --help | --help | --version\n"
"\n"
"FILE defaults to ~/.envcrypt/root-keys.json of the current user, which for the\n"
"server is the user it runs as:\n"
"  runuser -u postgres -- envcrypt keygen\n"
"\n"
"EXPORT is what the SQL function export_keyring() returned:\n"
"  psql -XAtc 'SELECT envcrypt.export_keyring()' shop > keyring.json\n"
"  envcrypt keyring verify keyring.json\n"
"  pg_dump -E UTF8 shop | envcrypt decrypt --keyring keyring.json > clear.sql\n"
"\n"
"The exit status is 0 on success, 1 on failure, 2 for a wrong command line; of\n"
"check 0 without findings, 1 with warnings, 2 with critical ones, 3 on failure.\n";

static const struct
{
	const char *name;
	int			(*run) (int argc, char **argv);
	const char *help;
}			commands[] = {
	{"keygen", cli_keygen, help},
	{"inspect", cli_inspect, help},
	{"keyring", cli_keyring, cli_keyring_help},
	{"decrypt", cli_decrypt, cli_decrypt_help},
	{"check", cli_check, help}
};

int
cli_fail(const evc_err *err)
{
	fprintf(stderr, "envcrypt: %s\n", err->msg);
	return CLI_FAILED;
}

int
cli_usage(const char *fmt,...)
{
	va_list		args;

	fputs("envcrypt: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputs("\nTry \"envcrypt --help\".\n", stderr);
	return CLI_USAGE;
}

/* Secrets go neither into core files nor into files others can read. */
static void
protect_process(void)
{
	const struct rlimit none = {0, 0};

	(void) setrlimit(RLIMIT_CORE, &none);
#ifdef PR_SET_DUMPABLE
	(void) prctl(PR_SET_DUMPABLE, 0);
#endif
	umask(S_IRWXG | S_IRWXO);
}

/* A full disk or closed pipe is a failure, too. */
static int
finish(int status)
{
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_OK)
	{
		fputs("envcrypt: cannot write to standard output\n", stderr);
		return CLI_FAILED;
	}
	return status;
}

static bool
asks_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static const char *
help_of(const char *command)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		if (strcmp(command, commands[i].name) == 0)
			return commands[i].help;
	}
	return help;
}

int
main(int argc, char **argv)
{
	protect_process();
	if (argc < 2)
		return cli_usage("no command was given");
	if (asks_help(argv[1]) || (argc > 2 && asks_help(argv[2])))
	{
		fputs(help_of(argv[1]), stdout);
		return finish(CLI_OK);
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
	{
		puts("envcrypt " ENVCRYPT_VERSION);
		return finish(CLI_OK);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		if (strcmp(argv[1], commands[i].name) == 0)
		{
			opterr = 0;
			return finish(commands[i].run(argc - 1, argv + 1));
		}
	}
	return cli_usage("unknown command");
}
