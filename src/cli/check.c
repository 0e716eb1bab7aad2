/*
 * check.c
 *	  envcrypt check: runs envcrypt.check() in databases and prints what it
 *	  finds, with an exit status for monitoring.
 *
 * The tool has no code of PostgreSQL's, so psql asks.  Its answer is fields
 * that each end with a null byte, which no text of the server's contains.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

/* The exit status: the worst of all databases. */
#define CHECK_WARNING	1
#define CHECK_CRITICAL	2
#define CHECK_FAILED	3

#define ANSWER_MAX		((size_t) 64 * 1024 * 1024)

enum
{
	DATABASE, SEVERITY, AREA, OBJECT, WHAT, WHY, FIX, FIELDS
};

/* A database without findings is one row, of its name. */
static const char query[] =
"SELECT pg_catalog.current_database(), c.severity, c.area, c.object, c.what, c.why, c.fix"
" FROM (SELECT) d LEFT JOIN envcrypt.check() c ON true";

typedef struct check_args
{
	const char *psql;
	char	  **dbnames;		/* conninfo each */
	size_t		n;
} check_args;

static int
fail(const char *doing)
{
	fprintf(stderr, "envcrypt: cannot %s: %s\n", doing, strerror(errno));
	return CHECK_FAILED;
}

/* ---------- asking ---------- */

/* Never returns: what the child does. */
static void
run_psql(const check_args *args, const char *dbname, int out)
{
	const char *argv[] = {args->psql, "-X", "-q", "-w", "-A", "-t", "-z", "-0",
		"-v", "ON_ERROR_STOP=1", "-c", query, dbname != NULL ? "-d" : NULL, dbname, NULL};

	if (dup2(out, STDOUT_FILENO) >= 0)
	{
		close(out);
		execvp(args->psql, (char **) argv);
	}
	fprintf(stderr, "envcrypt: cannot run %s: %s\n", args->psql, strerror(errno));
	_exit(127);
}

/* All that comes from fd, with a null byte at the end.  The caller frees it. */
static char *
read_answer(int fd, size_t *len)
{
	size_t		room = 64 * 1024;
	char	   *text = malloc(room);
	ssize_t		got = 1;

	for (*len = 0; text != NULL && got > 0;)
	{
		if (*len + 1 == room)
		{
			char	   *grown = room < ANSWER_MAX ? realloc(text, room *= 2) : NULL;

			if (grown == NULL)
				break;
			text = grown;
		}
		got = read(fd, text + *len, room - *len - 1);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			*len += (size_t) got;
	}
	if (text == NULL || got != 0)
	{
		free(text);
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

/* psql's answer, or NULL when there is none, which has been said. */
static char *
ask(const check_args *args, const char *dbname, size_t *len)
{
	int			fds[2];
	int			status = -1;
	pid_t		pid;
	char	   *answer;

	if (pipe(fds) != 0)
	{
		(void) fail("make a pipe");
		return NULL;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0)
	{
		close(fds[0]);
		run_psql(args, dbname, fds[1]);
	}
	close(fds[1]);
	if (pid < 0)
	{
		(void) fail("start a process");
		close(fds[0]);
		return NULL;
	}
	answer = read_answer(fds[0], len);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (answer != NULL && status == 0)
		return answer;
	if (answer == NULL)
		fputs("envcrypt: cannot read what psql says\n", stderr);
	free(answer);
	return NULL;
}

/* ---------- telling ---------- */

/* Names of objects are anybody's: nothing in them moves the cursor. */
static void
put(const char *label, const char *text)
{
	printf("%s", label);
	for (; *text != '\0'; text++)
		putchar((unsigned char) *text < ' ' || *text == 0x7f ? ' ' : *text);
	putchar('\n');
}

static int
print_finding(char **field)
{
	printf("%-8s  %-12s  ", field[SEVERITY], field[AREA]);
	put("", field[OBJECT]);
	put("    what: ", field[WHAT]);
	put("    why:  ", field[WHY]);
	put("    fix:  ", field[FIX]);
	if (strcmp(field[SEVERITY], "critical") == 0)
		return CHECK_CRITICAL;
	return strcmp(field[SEVERITY], "warning") == 0 ? CHECK_WARNING : CLI_OK;
}

/* Take the next row apart; false at the end, or when it is cut short. */
static bool
next_row(char **at, const char *end, char **field)
{
	for (int i = 0; i < FIELDS; i++)
	{
		if (*at >= end)
			return false;
		field[i] = *at;
		*at += strlen(*at) + 1;
	}
	return true;
}

static int
print_answer(char *answer, size_t len)
{
	char	   *field[FIELDS];
	char	   *at = answer;
	int			worst = CLI_OK;
	size_t		rows = 0;

	for (; next_row(&at, answer + len, field); rows++)
	{
		int			status = CLI_OK;

		if (rows == 0)
			put(field[SEVERITY][0] == '\0' ? "no findings in database " : "database ", field[DATABASE]);
		if (field[SEVERITY][0] != '\0')
			status = print_finding(field);
		if (status > worst)
			worst = status;
	}
	if (rows == 0 || at < answer + len)
	{
		fputs("envcrypt: psql did not answer as it should\n", stderr);
		return CHECK_FAILED;
	}
	return worst;
}

static int
check_database(const check_args *args, const char *dbname)
{
	size_t		len = 0;
	char	   *answer = ask(args, dbname, &len);
	int			status = answer != NULL ? print_answer(answer, len) : CHECK_FAILED;

	free(answer);
	return status;
}

/* Returns -1 to go on, else an exit status. */
static int
parse_options(int argc, char **argv, check_args *args)
{
	static const struct option options[] = {
		{"dbname", required_argument, NULL, 'd'},
		{"psql", required_argument, NULL, 'p'},
		{NULL, 0, NULL, 0}
	};
	const char *wrong = NULL;
	int			c;

	while (wrong == NULL && (c = getopt_long(argc, argv, ":d:", options, NULL)) != -1)
	{
		if (c == 'd')
			args->dbnames[args->n++] = optarg;
		else if (c == 'p')
			args->psql = optarg;
		else
			wrong = c == ':' ? "--dbname and --psql need a value" : "check does not know that option";
	}
	if (wrong == NULL && optind < argc)
		wrong = "check takes databases as --dbname CONNINFO";
	if (wrong == NULL)
		return -1;
	(void) cli_usage("%s", wrong);
	return CHECK_FAILED;		/* 2 would be a finding */
}

int
cli_check(int argc, char **argv)
{
	check_args	args = {.psql = "psql"};
	int			worst;

	args.dbnames = calloc((size_t) argc, sizeof(char *));
	if (args.dbnames == NULL)
		return fail("begin");
	worst = parse_options(argc, argv, &args);
	if (worst < 0)
	{
		worst = CLI_OK;
		for (size_t i = 0; i < args.n || i == 0; i++)
		{
			int			status = check_database(&args, args.n > 0 ? args.dbnames[i] : NULL);

			if (status > worst)
				worst = status;
		}
		if (fflush(stdout) != 0 || ferror(stdout))
			worst = fail("write to standard output");
	}
	free(args.dbnames);
	return worst;
}
