/*
 * nonce.c
 *	  Nonces of suites 01 and 02.
 */
#include "core/nonce.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "core/cursor.h"
#include "core/envelope.h"
#include "core/kdf.h"

#define IV_OFFSET		12
#define SEED_BYTES		32
#define DRAW_BYTES		(SEED_BYTES + 8 + 8 + 4 + 8)
#define NS_PER_SECOND	UINT64_C(1000000000)

static evc_code
read_clock(clockid_t clock, uint64_t *ns, evc_err *err)
{
	struct timespec t;

	if (clock_gettime(clock, &t) != 0)
		return evc_fail_errno(err, EVC_RANDOM_FAILED, errno, "cannot read the clock");
	*ns = (uint64_t) t.tv_sec * NS_PER_SECOND + (uint64_t) t.tv_nsec;
	return EVC_OK;
}

/*
 * Draw 24 new bytes.  The clocks, the pid and the counter separate draws even
 * if the kernel should repeat itself, as it can in a cloned machine; the HMAC
 * keeps them unreadable in the nonce.
 */
static evc_code
draw(evc_nonce *n, pid_t pid, uint64_t boottime, evc_err *err)
{
	uint8_t		msg[DRAW_BYTES] = {0};
	uint8_t		mac[EVC_HMAC_BYTES] = {0};
	evc_writer	w = evc_writer_on(msg, sizeof(msg));
	uint64_t	realtime = 0;
	uint8_t		seed[SEED_BYTES];
	evc_code	code;

	n->drawn = false;
	n->draws++;
	if ((code = evc_random(seed, sizeof(seed), err)) != EVC_OK ||
		(code = read_clock(CLOCK_REALTIME, &realtime, err)) != EVC_OK)
		goto out;

	evc_write_bytes(&w, seed, sizeof(seed));
	evc_write_be64(&w, realtime);
	evc_write_be64(&w, boottime);
	evc_write_be32(&w, (uint32_t) pid);
	evc_write_be64(&w, n->draws);
	if ((code = evc_hmac(&n->hedge, msg, sizeof(msg), mac, err)) != EVC_OK)
		goto out;
	memcpy(n->value, mac, sizeof(n->value));

out:
	evc_wipe(seed, sizeof(seed));
	evc_wipe(msg, sizeof(msg));
	evc_wipe(mac, sizeof(mac));
	return code;
}

/* Whether the running draw may not serve a message of that many blocks. */
static bool
spent(const evc_nonce *n, pid_t pid, uint64_t xact, uint64_t boottime, uint64_t blocks)
{
	return !n->drawn || n->pid != pid || n->xact != xact ||
		n->messages >= EVC_NONCE_MAX_MESSAGES ||
		n->blocks + blocks > EVC_NONCE_MAX_BLOCKS ||
		/* unsigned: a clock that went back is beyond the limit too */
		boottime - n->drawn_at >= EVC_NONCE_MAX_SECONDS * NS_PER_SECOND;
}

static void
advance_iv(uint8_t *iv)
{
	for (int i = EVC_NONCE_BYTES - IV_OFFSET - 1; i >= 0 && ++iv[i] == 0; i--)
		;
}

evc_code
evc_nonce_next(evc_nonce *n, uint64_t xact, size_t len, uint8_t *out, evc_err *err)
{
	/* GCM enciphers one block beside the message's own. */
	uint64_t	blocks = (uint64_t) len / 16 + 2;
	pid_t		pid = evc_pid();
	uint64_t	boottime = 0;
	evc_code	code;

	if ((code = read_clock(CLOCK_BOOTTIME, &boottime, err)) != EVC_OK)
		return code;

	if (spent(n, pid, xact, boottime, blocks))
	{
		if ((code = draw(n, pid, boottime, err)) != EVC_OK)
			return code;
		n->pid = pid;
		n->xact = xact;
		n->drawn_at = boottime;
		n->messages = 0;
		n->blocks = 0;
		n->drawn = true;
	}
	else
		advance_iv(n->value + IV_OFFSET);

	n->messages++;
	n->blocks += blocks;
	memcpy(out, n->value, EVC_NONCE_BYTES);
	return EVC_OK;
}
