/*
 * opener.c
 *	  Opening sealed values without a server.
 *
 * A version is unwrapped at its first value and kept prepared.  Whether the
 * server had disabled it is not looked at: who has the key file decides.
 */
#include "cli/opener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/codec.h"

/* A version as far as it is known: untried, prepared, or why it is not. */
typedef struct prepared
{
	bool		tried;
	evc_version *version;
	evc_err		why;
} prepared;

struct cli_opener
{
	evc_keyring *kr;
	evc_keyfile *kf;
	prepared   *versions;		/* as kr->entries */
};

static evc_code
read_all(int fd, cli_buf *text, evc_err *err)
{
	for (;;)
	{
		ssize_t		n;
		evc_code	code = cli_buf_reserve(text, 65536, err);

		if (code != EVC_OK)
			return code;
		n = read(fd, text->data + text->len, 65536);
		if (n == 0)
			return EVC_OK;
		if (n < 0 && errno != EINTR)
			return evc_fail_errno(err, EVC_FILE_ERROR, errno, "%s", strerror(errno));
		if (n > 0)
			text->len += (size_t) n;
		if (text->len > EVC_KEYRING_MAX)
			return evc_fail(err, EVC_FILE_FORMAT, "longer than %d bytes", EVC_KEYRING_MAX);
	}
}

evc_code
cli_read_keyring(const char *path, evc_keyring **kr, evc_err *err)
{
	bool		is_stdin = strcmp(path, "-") == 0;
	cli_buf		text = {NULL, 0, 0};
	evc_err		why = EVC_ERR_INIT;
	int			fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	evc_code	code;

	if (fd < 0)
		return evc_fail_errno(err, EVC_FILE_ERROR, errno, "cannot read %s%s: %s",
							  EVC_PATH_SHOWN(path), strerror(errno));
	code = read_all(fd, &text, &why);
	if (code == EVC_OK)
		code = evc_keyring_parse(text.data, text.len, kr, &why);
	cli_buf_free(&text);
	if (!is_stdin)
		close(fd);
	if (code != EVC_OK)
		return evc_fail(err, code, "export %s%s: %s", EVC_PATH_SHOWN(path), why.msg);
	return EVC_OK;
}

evc_code
cli_read_keyfile(const char *path, evc_keyfile **kf, evc_err *err)
{
	evc_file_rule rule = {.owner = geteuid()};
	char		full[PATH_MAX];
	evc_code	code = evc_path_expand(path != NULL ? path : EVC_KEYFILE_DEFAULT, full,
									   sizeof(full), err);

	return code == EVC_OK ? evc_keyfile_open(full, &rule, kf, err) : code;
}

evc_code
cli_opener_new(const char *keyring, const char *keyfile, cli_opener **opener, evc_err *err)
{
	cli_opener *o = calloc(1, sizeof(*o));
	evc_code	code;

	*opener = o;
	if (o == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	code = cli_read_keyring(keyring, &o->kr, err);
	if (code == EVC_OK)
		code = cli_read_keyfile(keyfile, &o->kf, err);
	if (code != EVC_OK)
		return code;
	o->versions = calloc(o->kr->nentries + 1, sizeof(*o->versions));
	return o->versions != NULL ? EVC_OK : evc_fail(err, EVC_NO_MEMORY, "out of memory");
}

void
cli_opener_free(cli_opener *o)
{
	if (o == NULL)
		return;
	for (size_t i = 0; o->versions != NULL && i < o->kr->nentries; i++)
	{
		if (o->versions[i].version != NULL)
			evc_version_clear(o->versions[i].version);
		free(o->versions[i].version);
	}
	free(o->versions);
	evc_keyfile_free(o->kf);
	evc_keyring_free(o->kr);
	free(o);
}

/* The first wrap that opens. */
static evc_code
unwrap(const cli_opener *o, const evc_keyring_entry *entry, evc_key *secret, evc_err *err)
{
	evc_code	code = evc_fail(err, EVC_BAD_WRAP, "its version has no wrap in the export");

	for (size_t i = 0; i < entry->version->nwraps && code != EVC_OK; i++)
		code = evc_keyring_unwrap(entry, &entry->version->wraps[i], o->kf, secret, err);
	return code;
}

static evc_code
prepare(const cli_opener *o, const evc_keyring_entry *entry, evc_version **version, evc_err *err)
{
	evc_version *v = calloc(1, sizeof(*v));
	evc_key		secret;
	evc_code	code;

	if (v == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	code = unwrap(o, entry, &secret, err);
	if (code == EVC_OK)
		code = evc_version_init(v, entry->key->algorithm, entry->version->kvid, &secret, err);
	evc_wipe(&secret, sizeof(secret));
	if (code == EVC_OK)
		*version = v;
	else
		free(v);
	return code;
}

static evc_code
find(cli_opener *o, const uint8_t *kvid, evc_version **version, evc_err *err)
{
	size_t		i = evc_keyring_find(o->kr, kvid);
	char		hex[2 * EVC_KVID_BYTES + 1] = "";
	prepared   *p = &o->versions[i];

	if (i == o->kr->nentries)
	{
		evc_hex_encode(kvid, EVC_KVID_BYTES, hex);
		return evc_fail(err, EVC_BAD_ARG, "the export has no key version %s", hex);
	}
	if (!p->tried)
	{
		(void) prepare(o, &o->kr->entries[i], &p->version, &p->why);
		p->tried = true;
	}
	*version = p->version;
	if (p->version == NULL)
		return evc_fail(err, p->why.code, "key \"%s\" does not open: %s",
						o->kr->entries[i].key->name, p->why.msg);
	return EVC_OK;
}

evc_code
cli_open(cli_opener *o, const evc_envelope *env, const evc_bytes *context, cli_buf *plain,
		 evc_err *err)
{
	bool		bound = (env->flags & EVC_FLAG_CONTEXT) != 0;
	evc_version *v;
	evc_code	code = evc_open_precheck(env, bound ? context : NULL, err);

	if (code != EVC_OK || (code = find(o, env->kvid, &v, err)) != EVC_OK)
		return code;
	code = cli_buf_reset(plain, evc_envelope_plaintext_len(env) + 1, err);
	if (code == EVC_OK)
		code = evc_open(v, env, bound ? context : NULL, (uint8_t *) plain->data, &plain->len, err);
	if (code == EVC_AUTH_FAILED || code == EVC_WRONG_SUITE)
		return evc_fail(err, code, bound ? "the context is not the one it was sealed with, or the value was modified" :
						"the value was modified");
	return code;
}
