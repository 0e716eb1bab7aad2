/*
 * evc.h
 *	  Status codes, error object and limits shared by every layer.
 *
 * Nothing in src/core or src/kms raises, logs or keeps global state that a
 * caller could trip over.  A function that can fail returns an evc_code and
 * fills a caller-owned evc_err; it either completes and owns nothing, or
 * fails and owns nothing.  Messages are ours: they never hold a value, key
 * bytes, or text from a file or a remote body.
 */
#ifndef EVC_H
#define EVC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVC_MUST_USE __attribute__((warn_unused_result))

typedef enum evc_code
{
	EVC_OK = 0,
	EVC_BAD_ARG,				/* an argument breaks its contract */
	EVC_MALFORMED,				/* not an envelope */
	EVC_NEWER_SUITE,			/* registered suite this release does not open */
	EVC_CONTEXT_EMPTY,			/* a context of no bytes was given */
	EVC_CONTEXT_MISSING,		/* a context was bound and none was given */
	EVC_CONTEXT_NEEDLESS,		/* a context was given and none was bound */
	EVC_WRONG_SUITE,			/* suite is not opened by the key's algorithm */
	EVC_AUTH_FAILED,			/* tag, context or padding: one code, no oracle */
	EVC_RANDOM_FAILED,			/* the kernel gave no random bytes */
	EVC_CRYPTO,					/* OpenSSL refused an operation */
	EVC_NO_MEMORY,
	EVC_TOO_LONG,				/* a length is beyond its limit */
	EVC_FILE_MISSING,			/* a file does not exist */
	EVC_FILE_EXISTS,			/* a file that must not exist does */
	EVC_FILE_ERROR,				/* a file cannot be read or written; sys_errno */
	EVC_FILE_UNSAFE,			/* owner, mode or place break the permission rule */
	EVC_FILE_FORMAT,			/* a file's content is not of its format */
	EVC_NO_ROOT_KEY,			/* the key file has no such root key or version */
	EVC_ROOT_KEY_DISABLED,		/* it has it, and it is disabled */
	EVC_BAD_WRAP,				/* a wrap does not open, or its payload is wrong */
	EVC_BAD_COMMITMENT			/* a secret is not the one the catalog names */
} evc_code;

#define EVC_ERR_MSG_BYTES 200

typedef struct evc_err
{
	evc_code	code;
	int			sys_errno;		/* 0 when no system call failed */
	char		msg[EVC_ERR_MSG_BYTES]; /* lower case, no period, NUL-terminated */
} evc_err;

#define EVC_ERR_INIT {EVC_OK, 0, ""}

/* Bytes that belong to somebody else. */
typedef struct evc_bytes
{
	const uint8_t *data;
	size_t		len;
} evc_bytes;

/*
 * Fill err (which may be NULL) and return code, so that a failing path reads
 * "return evc_fail(err, EVC_MALFORMED, ...)".  A message that does not fit is
 * cut, never overrun.
 */
extern evc_code evc_fail(evc_err *err, evc_code code, const char *fmt,...)
			__attribute__((format(printf, 3, 4)));

/* The same for a failed system call; keeps errno in err->sys_errno. */
extern evc_code evc_fail_errno(evc_err *err, evc_code code, int sys_errno,
							   const char *fmt,...)
			__attribute__((format(printf, 4, 5)));

#endif							/* EVC_H */
