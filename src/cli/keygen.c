/*
 * keygen.c
 *	  envcrypt keygen: make, extend and check the local key file.
 *
 * The file is read and placed under the same rule as the server's, for the
 * user who runs the tool.  Nothing is ever overwritten: a lost root key is
 * lost data.  Secrets pass through no stdio buffer.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/durable.h"
#include "core/codec.h"
#include "core/registry.h"
#include "kms/keyfile.h"

typedef struct keygen_args
{
	char		path[PATH_MAX];
	bool		default_path;
	const char *name;			/* NULL when not given */
	bool		add;
	bool		verify;
} keygen_args;

/* Returns -1 to go on, else an exit status. */
static int
parse_options(int argc, char **argv, keygen_args *args)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, 'n'},
		{"add", no_argument, NULL, 'a'},
		{"verify", no_argument, NULL, 'c'},
		{NULL, 0, NULL, 0}
	};
	int			c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1)
	{
		switch (c)
		{
			case 'n':
				args->name = optarg;
				break;
			case 'a':
				args->add = true;
				break;
			case 'c':
				args->verify = true;
				break;
			case ':':
				return cli_usage("--name needs a value");
			default:
				return cli_usage("keygen does not know that option");
		}
	}
	if (argc - optind > 1)
		return cli_usage("keygen takes one file");
	if (args->verify && (args->add || args->name != NULL))
		return cli_usage("--verify goes with no other option");
	if (args->add && args->name == NULL)
		return cli_usage("--add needs --name");
	if (args->name != NULL && !evc_name_valid(args->name, strlen(args->name)))
		return cli_usage("a root key's name is 1 to 128 of A-Z a-z 0-9 _ . : @ / -");
	return -1;
}

static int
find_path(int argc, char **argv, keygen_args *args)
{
	evc_err		err = EVC_ERR_INIT;
	const char *path = optind < argc ? argv[optind] : EVC_KEYFILE_DEFAULT;

	args->default_path = optind >= argc;
	if (path[0] == '\0')
		return cli_usage("the file's name is empty");
	if (evc_path_expand(path, args->path, sizeof(args->path), &err) != EVC_OK)
		return cli_fail(&err);
	return -1;
}

/* Most root users who meet the rule wanted to act for the server. */
static int
fail_with_hint(const evc_err *err)
{
	int			status = cli_fail(err);

	if (err->code == EVC_FILE_EXISTS)
		fputs("Nothing was changed.  To add a root key to it: envcrypt keygen --add --name NAME\n",
			  stderr);
	if (err->code == EVC_FILE_UNSAFE && geteuid() == 0)
		fputs("To act for the server's user: runuser -u postgres -- envcrypt keygen\n",
			  stderr);
	return status;
}

static void
print_advice(const keygen_args *args)
{
	if (geteuid() == 0)
		printf("\nThe file belongs to root.  The server's user must be able to read it: give it\n"
			   "to that user (chown postgres), or to a group of its own (chgrp, chmod 640),\n"
			   "in a directory that user can reach.  Simpler is to let that user make it:\n"
			   "  runuser -u postgres -- envcrypt keygen\n");
	printf("\nCopy the file now to another machine or medium than your database backups:\n"
		   "  %s\n"
		   "Without it no value sealed under this root key can ever be read again; with it\n"
		   "and a backup, everybody can read them all.\n",
		   args->path);
}

static evc_code
save(const keygen_args *args, const evc_file_rule *rule, const evc_keyfile *kf,
	 evc_err *err)
{
	evc_secret_text text = {NULL, 0};
	evc_code	code = evc_keyfile_serialize(kf, &text, err);

	if (code != EVC_OK)
		return code;
	code = args->add ? durable_replace(args->path, rule, &text, err) :
		durable_create(args->path, rule, &text, err);
	evc_secret_text_free(&text);
	return code;
}

/* What was written must also be what the server will accept. */
static evc_code
read_back(const keygen_args *args, const evc_file_rule *rule, const char *name,
		  evc_err *err)
{
	evc_keyfile *kf = NULL;
	evc_code	code = evc_keyfile_open(args->path, rule, &kf, err);

	if (code == EVC_OK && evc_keyfile_find(kf, name) == NULL)
		code = evc_fail(err, EVC_FILE_ERROR, "the new root key is not in the file");
	evc_keyfile_free(kf);
	return code;
}

static evc_code
generate(const keygen_args *args, const evc_file_rule *rule, const char *name,
		 evc_err *err)
{
	evc_keyfile *kf = NULL;
	int			lock = -1;
	evc_code	code = EVC_OK;

	if (args->default_path && !args->add)
		code = durable_mkdir(args->path, err);
	if (code == EVC_OK)
		code = durable_lock(args->path, rule, &lock, err);
	if (code == EVC_OK)
		code = args->add ? evc_keyfile_open(args->path, rule, &kf, err) :
			evc_keyfile_new(&kf, err);
	if (code == EVC_OK)
		code = evc_keyfile_add(kf, name, time(NULL), err);
	if (code == EVC_OK)
		code = save(args, rule, kf, err);
	if (code == EVC_OK)
		code = read_back(args, rule, name, err);

	evc_keyfile_free(kf);
	if (lock >= 0)
		close(lock);
	return code;
}

static void
print_versions(const evc_root_key *key)
{
	for (size_t i = 0; i < key->nversions; i++)
	{
		const evc_root_version *v = &key->versions[i];
		char		id[2 * EVC_ROOT_ID_BYTES + 1] = "";

		evc_hex_encode(v->id, EVC_ROOT_ID_BYTES, id);
		printf("  local:%s  version %s  created %s  %s%s\n", key->name, id,
			   v->created, v->enabled ? "enabled" : "disabled",
			   i == key->primary ? ", primary" : "");
	}
}

static int
verify(const keygen_args *args, const evc_file_rule *rule)
{
	evc_err		err = EVC_ERR_INIT;
	evc_keyfile *kf;

	if (evc_keyfile_open(args->path, rule, &kf, &err) != EVC_OK)
		return fail_with_hint(&err);
	printf("%s\n", args->path);
	for (size_t i = 0; i < kf->nkeys; i++)
		print_versions(&kf->keys[i]);
	printf("owner, mode, place, form and check values are right\n");
	evc_keyfile_free(kf);
	return CLI_OK;
}

int
cli_keygen(int argc, char **argv)
{
	keygen_args args = {.name = NULL};
	evc_file_rule rule = {.owner = geteuid()};
	evc_err		err = EVC_ERR_INIT;
	const char *name;
	int			status = parse_options(argc, argv, &args);

	if (status < 0)
		status = find_path(argc, argv, &args);
	if (status >= 0)
		return status;
	if (args.verify)
		return verify(&args, &rule);

	name = args.name != NULL ? args.name : "default";
	if (generate(&args, &rule, name, &err) != EVC_OK)
		return fail_with_hint(&err);
	printf("%s %s\nroot key: local:%s\n", args.add ? "changed" : "created", args.path, name);
	print_advice(&args);
	return CLI_OK;
}
