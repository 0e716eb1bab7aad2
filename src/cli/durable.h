/*
 * durable.h
 *	  Writing files that hold secrets so that they survive a crash whole.
 *
 * The place of the file obeys the rule of securefile.h.  The content goes to a
 * temporary file beside it, mode 0600, named .envcrypt-*.tmp, is flushed, and
 * then takes its name in one step; the directory is flushed after that.  A
 * process killed in between leaves at most the temporary file.
 */
#ifndef CLI_DURABLE_H
#define CLI_DURABLE_H

#include "kms/securefile.h"

/* Make a new file, never in the place of another: EVC_FILE_EXISTS. */
EVC_MUST_USE extern evc_code durable_create(const char *path,
											const evc_file_rule *rule,
											const evc_secret_text *text,
											evc_err *err);

/*
 * Replace a file by one of the same owner, group and mode; a reader sees the
 * old content or the new.  Links on the path stay links.
 */
EVC_MUST_USE extern evc_code durable_replace(const char *path,
											 const evc_file_rule *rule,
											 const evc_secret_text *text,
											 evc_err *err);

/*
 * Lock the directory of the file against others that do the same; waits some
 * seconds.  Closing *fd ends the lock, as does the end of the process.
 */
EVC_MUST_USE extern evc_code durable_lock(const char *path,
										  const evc_file_rule *rule, int *fd,
										  evc_err *err);

/* Make the directory of the path, mode 0700, unless it exists. */
EVC_MUST_USE extern evc_code durable_mkdir(const char *path, evc_err *err);

#endif							/* CLI_DURABLE_H */
