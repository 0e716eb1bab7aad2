/*
 * decrypt.c
 *	  envcrypt decrypt: a dump or CSV with its sealed values opened, without a
 *	  server.
 *
 * Reads standard input and writes standard output a row at a time.  Plaintext
 * goes nowhere else, and the buffers it passed through are wiped.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/copy.h"
#include "core/secret.h"

const char	cli_decrypt_help[] =
"envcrypt decrypt opens the sealed values of a dump, without any server.\n"
"\n"
"Usage:\n"
"  envcrypt decrypt --keyring EXPORT [--key-file FILE] [OPTION].. < DUMP > CLEAR\n"
"\n"
"It reads a plain-format dump of pg_dump, or CSV with a header, and writes the\n"
"same with values in clear.  EXPORT is what envcrypt.export_keyring() returned.\n"
"\n"
"  --keyring EXPORT        the export of the keys\n"
"  --key-file FILE         the root keys (default: ~/.envcrypt/root-keys.json)\n"
"  --column COLUMN         open this column; may be given many times\n"
"  --bytea-column COLUMN   the same, for what encrypt_bytea() sealed\n"
"  --all                   besides these, everything that needs no context, which\n"
"                          is what is opened when no column is named\n"
"  --csv                   the input is CSV with a header\n"
"  --without-envcrypt      leave the extension, its tables and triggers out\n"
"\n"
"COLUMN is TABLE.COLUMN or SCHEMA.TABLE.COLUMN; in CSV a name is enough.  Values\n"
"that were bound to a context need it:\n"
"  TABLE.COLUMN=OTHER                        the text of another column\n"
"  TABLE.COLUMN==TEXT                        this text\n"
"  'TABLE.COLUMN=enc_context(=TEXT,OTHER)'   as enc_context() makes it of parts\n"
"\n"
"Examples:\n"
"  psql -XAtc 'SELECT envcrypt.export_keyring()' shop > keyring.json\n"
"  pg_dump -E UTF8 shop | envcrypt decrypt --keyring keyring.json > clear.sql\n"
"  pg_restore -f - shop.dump | envcrypt decrypt --keyring keyring.json \\\n"
"    --key-file root-keys.json --all --without-envcrypt \\\n"
"    --column 'note.body=enc_context(=note.body,id)' > clear.sql\n"
"  envcrypt decrypt --csv --keyring keyring.json --column email < t.csv > clear.csv\n"
"\n"
"What cannot be opened is left as it is and told on standard error; then the exit\n"
"status is 1.\n";

typedef struct decrypt_args
{
	const char *keyring;
	const char *keyfile;
	bool		csv;
	bool		all;
} decrypt_args;

/* Takes in one option; returns -1 to go on, else an exit status. */
static int
take_option(int c, decrypt_args *args, cli_job *job, cli_ddl *ddl)
{
	evc_err		err = EVC_ERR_INIT;

	switch (c)
	{
		case 'r':
			args->keyring = optarg;
			break;
		case 'f':
			args->keyfile = optarg;
			break;
		case 'c':
		case 'b':
			if (cli_columns_add(&job->columns, optarg, c == 'b', &err) != EVC_OK)
				return cli_usage("%s", err.msg);
			break;
		case 'a':
			args->all = true;
			break;
		case 's':
			args->csv = true;
			break;
		case 'w':
			ddl->without_envcrypt = true;
			break;
		case ':':
			return cli_usage("an option of decrypt needs a value");
		default:
			return cli_usage("decrypt does not know that option");
	}
	return -1;
}

static int
parse_options(int argc, char **argv, decrypt_args *args, cli_job *job, cli_ddl *ddl)
{
	static const struct option options[] = {
		{"keyring", required_argument, NULL, 'r'},
		{"key-file", required_argument, NULL, 'f'},
		{"column", required_argument, NULL, 'c'},
		{"bytea-column", required_argument, NULL, 'b'},
		{"all", no_argument, NULL, 'a'},
		{"csv", no_argument, NULL, 's'},
		{"without-envcrypt", no_argument, NULL, 'w'},
		{NULL, 0, NULL, 0}
	};
	int			c;
	int			status = -1;

	while (status < 0 && (c = getopt_long(argc, argv, ":", options, NULL)) != -1)
		status = take_option(c, args, job, ddl);
	if (status >= 0)
		return status;
	if (optind < argc)
		return cli_usage("decrypt reads standard input and takes no file");
	if (args->keyring == NULL)
		return cli_usage("decrypt needs --keyring");
	if (strcmp(args->keyring, "-") == 0)
		return cli_usage("standard input is the dump, so --keyring needs a file");
	for (size_t i = 0; i < job->columns.n; i++)
	{
		if (!args->csv && job->columns.all[i].table == NULL)
			return cli_usage("a column of a dump is named with its table, TABLE.COLUMN");
	}
	job->everything = args->all || job->columns.n == 0;
	return -1;
}

/* A column nobody has seen is a mistake in its name, or the wrong dump. */
static void
complain_unseen(cli_job *job)
{
	for (size_t i = 0; i < job->columns.n; i++)
	{
		const cli_column *c = &job->columns.all[i];

		if (c->seen)
			continue;
		job->failed++;
		fprintf(stderr, "envcrypt: the input has no column %s%s%s\n",
				c->table != NULL ? c->table : "", c->table != NULL ? "." : "", c->name);
	}
}

static void
print_summary(const cli_job *job, const cli_ddl *ddl)
{
	fprintf(stderr, "envcrypt: %llu rows, %llu values opened, %llu failures\n", job->rows,
			job->opened, job->failed);
	if (!ddl->without_envcrypt)
		return;
	fprintf(stderr, "envcrypt: %llu statements of envcrypt left out\n", ddl->left_out);
	if (ddl->mentions > 0)
		fprintf(stderr, "envcrypt: %llu lines still name the schema envcrypt and will not load without it, the first is line %llu of the input\n",
				ddl->mentions, ddl->first_mention);
}

/* stdio's buffer holds plaintext, so it is one that can be wiped. */
static int
run(const decrypt_args *args, cli_job *job, cli_ddl *ddl)
{
	static char out[65536];
	static cli_lines in = {.fd = STDIN_FILENO};
	evc_err		err = EVC_ERR_INIT;
	evc_code	code = cli_opener_new(args->keyring, args->keyfile, &job->opener, &err);

	(void) setvbuf(stdout, out, _IOFBF, sizeof(out));
	if (code == EVC_OK)
		code = args->csv ? cli_csv(job, &in, &err) : cli_dump(job, ddl, &in, &err);
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EVC_OK)
		code = evc_fail(&err, EVC_FILE_ERROR, "cannot write to standard output");
	evc_wipe(out, sizeof(out));
	cli_buf_free(&in.line);
	if (code != EVC_OK)
		return cli_fail(&err);
	complain_unseen(job);
	print_summary(job, ddl);
	return job->failed == 0 ? CLI_OK : CLI_FAILED;
}

int
cli_decrypt(int argc, char **argv)
{
	decrypt_args args = {.keyring = NULL};
	cli_ddl		ddl = {.schema = NULL};
	cli_job		job = {.opener = NULL};
	int			status = parse_options(argc, argv, &args, &job, &ddl);

	if (status < 0)
		status = run(&args, &job, &ddl);
	cli_job_free(&job);
	return status;
}
