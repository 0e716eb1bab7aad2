/*
 * err.c
 *	  Filling the error object.
 */
#include "core/evc.h"

#include <stdarg.h>
#include <stdio.h>

static void fill(evc_err *err, evc_code code, int sys_errno, const char *fmt, va_list args)
			__attribute__((format(printf, 4, 0)));

static void
fill(evc_err *err, evc_code code, int sys_errno, const char *fmt, va_list args)
{
	if (err == NULL)
		return;
	err->code = code;
	err->sys_errno = sys_errno;
	(void) vsnprintf(err->msg, sizeof(err->msg), fmt, args);
}

evc_code
evc_fail(evc_err *err, evc_code code, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	fill(err, code, 0, fmt, args);
	va_end(args);
	return code;
}

evc_code
evc_fail_errno(evc_err *err, evc_code code, int sys_errno, const char *fmt,...)
{
	va_list		args;

	va_start(args, fmt);
	fill(err, code, sys_errno, fmt, args);
	va_end(args);
	return code;
}
