/*
 * buf.c
 *	  Growing buffers that wipe.
 */
#include "cli/buf.h"

#include <stdlib.h>
#include <string.h>

#include "core/secret.h"

#define FIRST_ROOM 1024

/* Never realloc, which leaves a copy behind. */
static evc_code
grow(cli_buf *buf, size_t room, evc_err *err)
{
	char	   *grown = malloc(room);

	if (grown == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	if (buf->len > 0)
		memcpy(grown, buf->data, buf->len);
	if (buf->data != NULL)
		evc_wipe(buf->data, buf->room);
	free(buf->data);
	buf->data = grown;
	buf->room = room;
	return EVC_OK;
}

evc_code
cli_buf_reserve(cli_buf *buf, size_t len, evc_err *err)
{
	size_t		room = buf->room == 0 ? FIRST_ROOM : buf->room;

	if (buf->data != NULL && len <= buf->room - buf->len)
		return EVC_OK;
	if (len > SIZE_MAX / 4 - buf->len)
		return evc_fail(err, EVC_TOO_LONG, "too long");
	while (room - buf->len < len)
		room *= 2;
	return grow(buf, room, err);
}

evc_code
cli_buf_reset(cli_buf *buf, size_t len, evc_err *err)
{
	if (buf->len > 0)
		evc_wipe(buf->data, buf->len);
	buf->len = 0;
	return cli_buf_reserve(buf, len, err);
}

evc_code
cli_buf_add(cli_buf *buf, const void *data, size_t len, evc_err *err)
{
	evc_code	code = cli_buf_reserve(buf, len, err);

	if (code != EVC_OK)
		return code;
	if (len > 0)
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	return EVC_OK;
}

void
cli_buf_free(cli_buf *buf)
{
	if (buf->data != NULL)
		evc_wipe(buf->data, buf->room);
	free(buf->data);
	*buf = (cli_buf) {NULL, 0, 0};
}
