/*
 * buf.h
 *	  Growing buffers for text that may be plaintext: what a buffer gives up is
 *	  wiped first, and so is what it is freed with.
 */
#ifndef CLI_BUF_H
#define CLI_BUF_H

#include "core/evc.h"

typedef struct cli_buf
{
	char	   *data;
	size_t		len;
	size_t		room;
} cli_buf;

/* Empty it, wiping what was in it, and make room for len bytes. */
EVC_MUST_USE extern evc_code cli_buf_reset(cli_buf *buf, size_t len, evc_err *err);

/* Make room for len more bytes after those that are there. */
EVC_MUST_USE extern evc_code cli_buf_reserve(cli_buf *buf, size_t len, evc_err *err);

EVC_MUST_USE extern evc_code cli_buf_add(cli_buf *buf, const void *data, size_t len,
										 evc_err *err);

extern void cli_buf_free(cli_buf *buf);

#endif							/* CLI_BUF_H */
