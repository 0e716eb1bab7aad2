/*
 * securefile.h
 *	  Files that hold secrets: who may own them, where they may lie, and how
 *	  they are found and read.
 *
 * The rule is PostgreSQL's for its TLS key, and extends it to the directories
 * on the way: whoever can write one of them could put another file in place.
 * docs/keys.md has it in full.
 */
#ifndef EVC_SECUREFILE_H
#define EVC_SECUREFILE_H

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "core/evc.h"

/* A directory that may not hold the file, by identity and not by name. */
typedef struct evc_dir_id
{
	dev_t		dev;
	ino_t		ino;
} evc_dir_id;

/* Who may own the file, and where it may not lie. */
typedef struct evc_file_rule
{
	uid_t		owner;			/* the server user; root is always accepted */
	const evc_dir_id *forbidden;	/* data directory and tablespaces */
	size_t		nforbidden;
} evc_file_rule;

/* The content of a file, in memory of its own. */
typedef struct evc_secret_text
{
	char	   *data;
	size_t		len;
} evc_secret_text;

/*
 * Read a file of at most "limit" bytes that obeys the rule.  EVC_FILE_MISSING,
 * EVC_FILE_UNSAFE, EVC_FILE_FORMAT (too large) or EVC_FILE_ERROR; the message
 * names the path.  Free the text with evc_secret_text_free.
 */
EVC_MUST_USE extern evc_code evc_securefile_read(const char *path,
												 const evc_file_rule *rule,
												 size_t limit,
												 evc_secret_text *text, evc_err *err);

/* Wipe and free; a text that was never filled is allowed if zeroed. */
extern void evc_secret_text_free(evc_secret_text *text);

/*
 * A path followed to its end: the open directory that really holds the file,
 * links resolved, and the file's name in it.
 */
typedef struct evc_place
{
	int			dirfd;			/* -1 when nothing is open */
	bool		exists;
	char		name[NAME_MAX + 1];
	struct stat st;				/* the file, when it exists */
} evc_place;

/*
 * Follow a path, checking every directory, and the file if it exists, against
 * the rule.  evc_place_end closes what a success opened.
 */
EVC_MUST_USE extern evc_code evc_place_find(const char *path,
											const evc_file_rule *rule,
											evc_place *place, evc_err *err);
extern void evc_place_end(evc_place *place);

/*
 * Put the home directory of the effective user, as the user database and not
 * $HOME has it, in place of a leading "~/".
 */
EVC_MUST_USE extern evc_code evc_path_expand(const char *path, char *out,
											 size_t cap, evc_err *err);

/* The end of a path, as much of it as fits a message, for two "%s". */
#define EVC_PATH_SHOWN_BYTES	90
#define EVC_PATH_SHOWN(p) \
	(strlen(p) > EVC_PATH_SHOWN_BYTES ? "..." : ""), \
	((p) + (strlen(p) > EVC_PATH_SHOWN_BYTES ? strlen(p) - EVC_PATH_SHOWN_BYTES : 0))

#endif							/* EVC_SECUREFILE_H */
