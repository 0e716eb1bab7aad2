/*
 * utf8.h
 *	  Whether bytes are text that a PostgreSQL database can hold.
 */
#ifndef CLI_UTF8_H
#define CLI_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Valid UTF-8 without NUL: no overlong form, no surrogate, up to U+10FFFF. */
extern bool cli_is_text(const char *s, size_t len);

#endif							/* CLI_UTF8_H */
