/*
 * tap.h
 *	  Just enough of the Test Anything Protocol for prove(1).
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int	tap_run;
static int	tap_failed;

/* Count and print one test; returns whether it passed. */
__attribute__((format(printf, 2, 3), unused))
static bool
ok(bool passed, const char *fmt,...)
{
	va_list		args;

	printf("%sok %d - ", passed ? "" : "not ", ++tap_run);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
	tap_failed += !passed;
	return passed;
}

__attribute__((format(printf, 1, 2), unused))
static void
diag(const char *fmt,...)
{
	va_list		args;

	fputs("# ", stdout);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

/* One test that is not run, and why. */
__attribute__((unused))
static void
skip(const char *what, const char *why)
{
	printf("ok %d - %s # SKIP %s\n", ++tap_run, what, why);
}

__attribute__((unused))
static int
done_testing(void)
{
	printf("1..%d\n", tap_run);
	return tap_failed != 0;
}

#endif							/* TAP_H */
