/*
 * cursor.h
 *	  Bounded reading and writing of bytes; integers are big endian.
 *
 * The only code that moves through bytes made by somebody else.  A step that
 * does not fit marks the cursor as failed, every later step fails too, and the
 * caller looks once, at the end.  A failed read returns NULL or zero.
 */
#ifndef EVC_CURSOR_H
#define EVC_CURSOR_H

#include <string.h>

#include "core/evc.h"

typedef struct evc_reader
{
	const uint8_t *p;
	size_t		left;
	bool		failed;
} evc_reader;

typedef struct evc_writer
{
	uint8_t    *p;
	size_t		left;
	bool		failed;
} evc_writer;

static inline evc_reader
evc_reader_on(const uint8_t *p, size_t len)
{
	return (evc_reader) {p, len, false};
}

static inline const uint8_t *
evc_read_bytes(evc_reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->failed || n > r->left)
	{
		r->failed = true;
		return NULL;
	}
	r->p += n;
	r->left -= n;
	return p;
}

static inline uint8_t
evc_read_u8(evc_reader *r)
{
	const uint8_t *p = evc_read_bytes(r, 1);

	return p != NULL ? *p : 0;
}

/* Everything but the last n bytes, which stay to be read. */
static inline evc_bytes
evc_read_all_but(evc_reader *r, size_t n)
{
	evc_bytes	b = {NULL, 0};

	if (r->failed || n > r->left)
		r->failed = true;
	else
	{
		b.len = r->left - n;
		b.data = evc_read_bytes(r, b.len);
	}
	return b;
}

static inline evc_writer
evc_writer_on(uint8_t *p, size_t cap)
{
	return (evc_writer) {p, cap, false};
}

static inline void
evc_write_bytes(evc_writer *w, const void *src, size_t n)
{
	if (w->failed || n > w->left)
	{
		w->failed = true;
		return;
	}
	if (n > 0)
		memcpy(w->p, src, n);
	w->p += n;
	w->left -= n;
}

static inline void
evc_write_u8(evc_writer *w, uint8_t v)
{
	evc_write_bytes(w, &v, 1);
}

static inline void
evc_write_be16(evc_writer *w, uint16_t v)
{
	uint8_t		b[2] = {(uint8_t) (v >> 8), (uint8_t) v};

	evc_write_bytes(w, b, sizeof(b));
}

static inline void
evc_write_be32(evc_writer *w, uint32_t v)
{
	evc_write_be16(w, (uint16_t) (v >> 16));
	evc_write_be16(w, (uint16_t) v);
}

static inline void
evc_write_be64(evc_writer *w, uint64_t v)
{
	evc_write_be32(w, (uint32_t) (v >> 32));
	evc_write_be32(w, (uint32_t) v);
}

#endif							/* EVC_CURSOR_H */
