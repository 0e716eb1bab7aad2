/*
 * inspect.c
 *	  envcrypt inspect: the public parts of a sealed value.
 *
 * The input is never shown: what is no sealed value may be somebody's data.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/codec.h"
#include "core/envelope.h"

#define MAX_TEXT	((size_t) 2 * 1024 * 1024 * 1024 + 16)	/* PostgreSQL's 1 GB */
#define FIRST_ROOM	((size_t) 64 * 1024)

static const char *const suite_names[] = {
	[EVC_SUITE_XAES] = "XAES-256-GCM",
	[EVC_SUITE_KC_XAES] = "key-committing XAES-256-GCM",
	[EVC_SUITE_SIV] = "AES-256-SIV",
	[EVC_SUITE_XAES_CHUNKED] = "XAES-256-GCM, chunked",
	[EVC_SUITE_GCM] = "AES-256-GCM"
};

typedef struct text_buf
{
	char	   *data;
	size_t		len;
	size_t		room;
} text_buf;

static evc_code
make_room(text_buf *buf, evc_err *err)
{
	size_t		room = buf->room == 0 ? FIRST_ROOM : 2 * buf->room;
	char	   *grown;

	if (buf->len < buf->room)
		return EVC_OK;
	if (buf->len > MAX_TEXT)
		return evc_fail(err, EVC_TOO_LONG, "longer than any value in PostgreSQL");
	grown = realloc(buf->data, room);
	if (grown == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	buf->data = grown;
	buf->room = room;
	return EVC_OK;
}

static evc_code
read_stdin(text_buf *buf, evc_err *err)
{
	for (;;)
	{
		ssize_t		n;
		evc_code	code = make_room(buf, err);

		if (code != EVC_OK)
			return code;
		n = read(STDIN_FILENO, buf->data + buf->len, buf->room - buf->len);
		if (n == 0)
			return EVC_OK;
		if (n < 0 && errno != EINTR)
			return evc_fail_errno(err, EVC_FILE_ERROR, errno,
								  "cannot read standard input: %s", strerror(errno));
		if (n > 0)
			buf->len += (size_t) n;
	}
}

/* Hex with or without \x, blanks around it allowed.  The caller frees *out. */
static evc_code
decode(evc_bytes text, uint8_t **out, size_t *len, evc_err *err)
{
	const char *p = (const char *) text.data;
	size_t		n = text.len;

	while (n > 0 && strchr(" \t\r\n", p[n - 1]) != NULL && p[n - 1] != '\0')
		n--;
	while (n > 0 && strchr(" \t\r\n", p[0]) != NULL && p[0] != '\0')
		p++, n--;
	if (n >= 2 && p[0] == '\\' && p[1] == 'x')
		p += 2, n -= 2;
	*out = malloc(n / 2 + 1);
	if (*out == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	return evc_hex_decode(p, n, *out, n / 2, len, err);
}

static void
print_lengths(const evc_envelope *env, size_t len)
{
	size_t		inside = evc_envelope_plaintext_len(env);

	if ((env->flags & EVC_FLAG_PADDED) != 0)
		printf("plaintext:  unknown, padded to %zu bytes\n", inside);
	else
		printf("plaintext:  %zu bytes\n", inside);
	printf("overhead:   %zu bytes\n", len - inside);
}

static void
print_envelope(const evc_envelope *env, size_t len)
{
	char		kvid[2 * EVC_KVID_BYTES + 1] = "";

	evc_hex_encode(env->kvid, EVC_KVID_BYTES, kvid);
	printf("suite:      %u (%s)\n", env->suite, suite_names[env->suite]);
	printf("flags:      %02x\n", env->flags);
	printf("kvid:       %s\n", kvid);
	printf("context:    %s\n", (env->flags & EVC_FLAG_CONTEXT) != 0 ? "bound" : "none");
	printf("padded:     %s\n", (env->flags & EVC_FLAG_PADDED) != 0 ? "yes" : "no");
	print_lengths(env, len);
}

int
cli_inspect(int argc, char **argv)
{
	text_buf	buf = {NULL, 0, 0};
	evc_err		err = EVC_ERR_INIT;
	evc_envelope env;
	evc_bytes	text;
	uint8_t    *bytes = NULL;
	size_t		len = 0;
	evc_code	code = EVC_OK;

	if (argc != 2)
		return cli_usage("inspect takes one value in hex, or -");
	if (strcmp(argv[1], "-") == 0)
		code = read_stdin(&buf, &err);
	text.data = (const uint8_t *) (buf.data != NULL ? buf.data : argv[1]);
	text.len = buf.data != NULL ? buf.len : strlen(argv[1]);

	if (code == EVC_OK)
		code = decode(text, &bytes, &len, &err);
	if (code == EVC_OK)
		code = evc_envelope_parse(bytes, len, &env, &err);
	if (code == EVC_OK)
		print_envelope(&env, len);

	free(bytes);
	free(buf.data);
	return code == EVC_OK ? CLI_OK : cli_fail(&err);
}
