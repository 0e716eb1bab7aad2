/*
 * keyring.c
 *	  envcrypt keyring verify: whether an export and a key file together open
 *	  every key.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/opener.h"
#include "core/codec.h"

const char	cli_keyring_help[] =
"envcrypt keyring verify opens every wrap of an export of keys.\n"
"\n"
"Usage:\n"
"  envcrypt keyring verify EXPORT [--key-file FILE]\n"
"\n"
"EXPORT is what envcrypt.export_keyring() returned, - reads standard input.  FILE\n"
"holds the root keys (default: ~/.envcrypt/root-keys.json).  Each wrap is opened,\n"
"and its secret compared with the version's commitment.\n"
"\n"
"Examples:\n"
"  psql -XAtc 'SELECT envcrypt.export_keyring()' shop > keyring.json\n"
"  envcrypt keyring verify keyring.json\n"
"  envcrypt keyring verify keyring.json --key-file /media/safe/root-keys.json\n"
"\n"
"The exit status is 0 when every version has a wrap that opens, else 1.\n";

/* Returns whether the wrap opens, and prints that. */
static bool
verify_wrap(const evc_keyring_entry *entry, const evc_keyring_wrap *wrap, const evc_keyfile *kf)
{
	evc_err		err = EVC_ERR_INIT;
	evc_key		secret;
	evc_code	code = evc_keyring_unwrap(entry, wrap, kf, &secret, &err);

	evc_wipe(&secret, sizeof(secret));
	if (code == EVC_OK)
		printf("    %s: ok\n", wrap->root_key);
	else
		printf("    %s: failed: %s\n", wrap->root_key, err.msg);
	return code == EVC_OK;
}

/* A destroyed version has nothing that could open. */
static bool
verify_version(const evc_keyring_entry *entry, const evc_keyfile *kf)
{
	const evc_keyring_version *v = entry->version;
	char		kvid[2 * EVC_KVID_BYTES + 1] = "";
	bool		opens = strcmp(v->state, "destroyed") == 0;

	evc_hex_encode(v->kvid, EVC_KVID_BYTES, kvid);
	printf("  version %d, %s, %s\n", v->number, kvid, v->state);
	for (size_t i = 0; i < v->nwraps; i++)
		opens |= verify_wrap(entry, &v->wraps[i], kf);
	if (!opens)
		printf("    NOT READABLE: no wrap of this version opens\n");
	return opens;
}

static int
verify(const evc_keyring *kr, const evc_keyfile *kf)
{
	size_t		good = 0;

	for (size_t i = 0; i < kr->nkeys; i++)
	{
		evc_keyring_entry entry = {&kr->keys[i], NULL};

		printf("key %s\n", kr->keys[i].name);
		for (size_t j = 0; j < kr->keys[i].nversions; j++)
		{
			entry.version = &kr->keys[i].versions[j];
			good += verify_version(&entry, kf);
		}
	}
	printf("%zu of %zu versions open\n", good, kr->nentries);
	return good == kr->nentries ? CLI_OK : CLI_FAILED;
}

/* Returns -1 to go on, else an exit status. */
static int
parse_options(int argc, char **argv, const char **keyfile)
{
	static const struct option options[] = {
		{"key-file", required_argument, NULL, 'f'},
		{NULL, 0, NULL, 0}
	};
	int			c;

	while ((c = getopt_long(argc, argv, ":", options, NULL)) != -1)
	{
		if (c == ':')
			return cli_usage("--key-file needs a value");
		if (c != 'f')
			return cli_usage("keyring does not know that option");
		*keyfile = optarg;
	}
	if (argc - optind != 2 || strcmp(argv[optind], "verify") != 0)
		return cli_usage("keyring takes the word verify and one export");
	return -1;
}

int
cli_keyring(int argc, char **argv)
{
	const char *path = NULL;
	evc_err		err = EVC_ERR_INIT;
	evc_keyring *kr = NULL;
	evc_keyfile *kf = NULL;
	int			status = parse_options(argc, argv, &path);

	if (status >= 0)
		return status;
	if (cli_read_keyring(argv[optind + 1], &kr, &err) != EVC_OK ||
		cli_read_keyfile(path, &kf, &err) != EVC_OK)
		status = cli_fail(&err);
	else
		status = verify(kr, kf);
	evc_keyfile_free(kf);
	evc_keyring_free(kr);
	return status;
}
