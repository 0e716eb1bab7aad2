/*
 * wrap.c
 *	  The payload of a wrap, what it is bound to, and commitments.
 */
#include "core/wrap.h"

#include <string.h>

#include "core/cursor.h"
#include "core/kdf.h"

#define PAYLOAD_HEAD_BYTES	(EVC_PAYLOAD_BYTES - EVC_KEY_BYTES)

evc_binding
evc_binding_of(uint8_t algorithm, const uint8_t *kvid, const char *label)
{
	evc_binding b = {.algorithm = algorithm};

	memcpy(b.kvid, kvid, EVC_KVID_BYTES);
	b.label.data = (const uint8_t *) label;
	b.label.len = strlen(label);
	return b;
}

size_t
evc_binding_bytes(const evc_binding *b, uint8_t *out)
{
	evc_writer	w = evc_writer_on(out, EVC_BINDING_MAX);

	evc_write_bytes(&w, "envcrypt/wrap/v1", 16);
	evc_write_u8(&w, b->algorithm);
	evc_write_bytes(&w, b->kvid, sizeof(b->kvid));
	evc_write_be16(&w, (uint16_t) b->label.len);
	evc_write_bytes(&w, b->label.data, b->label.len);
	return EVC_BINDING_MAX - w.left;
}

/* 01 | 01 | algorithm | 00 | kvid */
static void
payload_head(const evc_binding *b, uint8_t head[PAYLOAD_HEAD_BYTES])
{
	evc_writer	w = evc_writer_on(head, PAYLOAD_HEAD_BYTES);

	evc_write_u8(&w, 0x01);
	evc_write_u8(&w, 0x01);
	evc_write_u8(&w, b->algorithm);
	evc_write_u8(&w, 0x00);
	evc_write_bytes(&w, b->kvid, sizeof(b->kvid));
}

void
evc_payload_write(const evc_binding *b, const evc_key *secret, uint8_t *out)
{
	payload_head(b, out);
	memcpy(out + PAYLOAD_HEAD_BYTES, secret->b, sizeof(secret->b));
}

evc_code
evc_payload_read(const evc_binding *b, const uint8_t *payload, size_t len,
				 evc_key *secret, evc_err *err)
{
	uint8_t		head[PAYLOAD_HEAD_BYTES];

	payload_head(b, head);
	if (len != EVC_PAYLOAD_BYTES || !evc_equal(payload, head, sizeof(head)))
		return evc_fail(err, EVC_BAD_WRAP, "the wrap holds something else than this key version");
	memcpy(secret->b, payload + PAYLOAD_HEAD_BYTES, sizeof(secret->b));
	return EVC_OK;
}

evc_code
evc_commitment(uint8_t algorithm, const uint8_t *kvid, const evc_key *secret,
			   uint8_t *out, evc_err *err)
{
	evc_key		key = {{0}};
	evc_code	code = evc_working_key(EVC_PURPOSE_COMMIT, algorithm, kvid, secret,
									   &key, 1, err);

	memcpy(out, key.b, EVC_COMMITMENT_BYTES);
	return code;
}
