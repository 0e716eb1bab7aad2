/*
 * securefile.c
 *	  Finding and reading files that hold secrets.
 *
 * A path is walked one name at a time from "/", each directory opened below
 * the one just checked, links followed by hand: what is checked is what is
 * used, whatever others rename meanwhile.  Nobody but root and the server
 * user can change an accepted directory, except one that is sticky and
 * root's, where nobody can touch what is not his; a link there counts only if
 * root or the server user made it.
 *
 * Group bits of a mode also show what an access control list grants, since
 * they are its mask.
 */
#include "kms/securefile.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/secret.h"

#ifndef O_PATH					/* needs no read permission, where known */
#define O_PATH O_RDONLY
#endif

#define MAX_LINKS		40
#define OPEN_DIR_FLAGS	(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

typedef struct walk
{
	const evc_file_rule *rule;
	const char *path;			/* as it was given */
	evc_place  *at;				/* where the walk stands, in the end the find */
	char		here[PATH_MAX]; /* that directory's name, for messages */
	char		rest[PATH_MAX]; /* names still to be walked */
	int			links;
	bool		done;
} walk;

static evc_code
fail_path(walk *w, int sys_errno, const char *doing, evc_err *err)
{
	if (sys_errno == ENOENT)
		return evc_fail_errno(err, EVC_FILE_MISSING, sys_errno,
							  "%s%s does not exist", EVC_PATH_SHOWN(w->path));
	return evc_fail_errno(err, EVC_FILE_ERROR, sys_errno, "cannot %s %s%s: %s",
						  doing, EVC_PATH_SHOWN(w->path), strerror(sys_errno));
}

static bool
trusted_uid(const evc_file_rule *rule, uid_t uid)
{
	return uid == 0 || uid == rule->owner;
}

static evc_code
check_dir(walk *w, const struct stat *st, evc_err *err)
{
	if (!trusted_uid(w->rule, st->st_uid))
		return evc_fail(err, EVC_FILE_UNSAFE,
						"directory %s%s belongs to user %u: it must belong to root or user %u",
						EVC_PATH_SHOWN(w->here), (unsigned) st->st_uid,
						(unsigned) w->rule->owner);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0 &&
		!(st->st_uid == 0 && (st->st_mode & S_ISVTX) != 0))
		return evc_fail(err, EVC_FILE_UNSAFE,
						"directory %s%s can be written by others: use chmod go-w",
						EVC_PATH_SHOWN(w->here));
	return EVC_OK;
}

/* Take over fd, or the errno of the attempt to open it, as where w stands. */
static evc_code
enter(walk *w, int fd, evc_err *err)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
	{
		int			saved = errno;

		if (fd >= 0)
			close(fd);
		return fail_path(w, saved, "reach", err);
	}
	if (w->at->dirfd >= 0)
		close(w->at->dirfd);
	w->at->dirfd = fd;
	return check_dir(w, &st, err);
}

static evc_code
enter_root(walk *w, evc_err *err)
{
	strcpy(w->here, "/");
	return enter(w, open("/", OPEN_DIR_FLAGS), err);
}

static evc_code
enter_name(walk *w, const char *name, evc_err *err)
{
	size_t		len = strlen(w->here);

	/* A name cut short spoils a message, nothing else. */
	snprintf(w->here + len, sizeof(w->here) - len, "%s%s",
			 len > 1 ? "/" : "", name);
	return enter(w, openat(w->at->dirfd, name, OPEN_DIR_FLAGS), err);
}

/* Put text, and a slash, before what is still to be walked. */
static bool
push_rest(walk *w, const char *text)
{
	size_t		len = strlen(text);
	size_t		rest = strlen(w->rest) + 1;

	if (len + 1 + rest > sizeof(w->rest))
		return false;
	memmove(w->rest + len + 1, w->rest, rest);
	memcpy(w->rest, text, len);
	w->rest[len] = '/';
	return true;
}

static evc_code
follow_link(walk *w, const char *name, const struct stat *st, evc_err *err)
{
	char		target[PATH_MAX];
	ssize_t		n;

	if (!trusted_uid(w->rule, st->st_uid))
		return evc_fail(err, EVC_FILE_UNSAFE,
						"a link on the path of %s%s belongs to user %u: it must belong to root or user %u",
						EVC_PATH_SHOWN(w->path), (unsigned) st->st_uid,
						(unsigned) w->rule->owner);
	if (++w->links > MAX_LINKS)
		return fail_path(w, ELOOP, "reach", err);
	n = readlinkat(w->at->dirfd, name, target, sizeof(target));
	if (n < 0)
		return fail_path(w, errno, "reach", err);
	if ((size_t) n == sizeof(target))
		return fail_path(w, ENAMETOOLONG, "reach", err);
	target[n] = '\0';
	if (!push_rest(w, target))
		return fail_path(w, ENAMETOOLONG, "reach", err);
	return target[0] == '/' ? enter_root(w, err) : EVC_OK;
}

/* Move the next name from w->rest to name; an errno when that fails. */
static int
next_name(walk *w, char *name, bool *last)
{
	size_t		skip = strspn(w->rest, "/");
	size_t		len = strcspn(w->rest + skip, "/");
	size_t		used = skip + len;

	if (len == 0 || len > NAME_MAX)
		return len == 0 ? EISDIR : ENAMETOOLONG;
	memcpy(name, w->rest + skip, len);
	name[len] = '\0';
	used += strspn(w->rest + used, "/");
	memmove(w->rest, w->rest + used, strlen(w->rest + used) + 1);
	*last = w->rest[0] == '\0';
	return 0;
}

static evc_code
walk_step(walk *w, evc_err *err)
{
	bool		last;
	int			bad = next_name(w, w->at->name, &last);

	if (bad != 0)
		return fail_path(w, bad, "reach", err);
	if (fstatat(w->at->dirfd, w->at->name, &w->at->st, AT_SYMLINK_NOFOLLOW) != 0)
	{
		if (errno != ENOENT || !last)
			return fail_path(w, errno, "reach", err);
		w->done = true;
		return EVC_OK;
	}
	if (S_ISLNK(w->at->st.st_mode))
		return follow_link(w, w->at->name, &w->at->st, err);
	if (!last)
		return enter_name(w, w->at->name, err);
	w->at->exists = true;
	w->done = true;
	return EVC_OK;
}

static bool
is_forbidden(const evc_file_rule *rule, const struct stat *st)
{
	for (size_t i = 0; i < rule->nforbidden; i++)
	{
		if (rule->forbidden[i].dev == st->st_dev &&
			rule->forbidden[i].ino == st->st_ino)
			return true;
	}
	return false;
}

/* "/.." is "/": the climb ends where a directory is its own parent. */
static evc_code
check_ancestors(walk *w, evc_err *err)
{
	struct stat st;
	struct stat below = {0};
	int			fd = dup(w->at->dirfd);

	while (fd >= 0 && fstat(fd, &st) == 0)
	{
		int			up;

		if (is_forbidden(w->rule, &st))
		{
			close(fd);
			return evc_fail(err, EVC_FILE_UNSAFE,
							"%s%s is inside the data directory or a tablespace, where backups take it along: move it",
							EVC_PATH_SHOWN(w->path));
		}
		if (st.st_dev == below.st_dev && st.st_ino == below.st_ino)
		{
			close(fd);
			return EVC_OK;
		}
		below = st;
		up = openat(fd, "..", OPEN_DIR_FLAGS);
		close(fd);
		fd = up;
	}
	if (fd >= 0)
		close(fd);
	return fail_path(w, errno, "check the directories of", err);
}

static evc_code
check_file(walk *w, const struct stat *st, evc_err *err)
{
	if (!S_ISREG(st->st_mode))
		return evc_fail(err, EVC_FILE_UNSAFE, "%s%s is not a regular file",
						EVC_PATH_SHOWN(w->path));
	if (!trusted_uid(w->rule, st->st_uid))
		return evc_fail(err, EVC_FILE_UNSAFE,
						"%s%s belongs to user %u: it must belong to user %u or root",
						EVC_PATH_SHOWN(w->path), (unsigned) st->st_uid,
						(unsigned) w->rule->owner);
	if (st->st_uid == w->rule->owner && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return evc_fail(err, EVC_FILE_UNSAFE,
						"%s%s is open to group or others: use chmod 600",
						EVC_PATH_SHOWN(w->path));
	if ((st->st_mode & (S_IWGRP | S_IXGRP | S_IRWXO)) != 0)
		return evc_fail(err, EVC_FILE_UNSAFE,
						"%s%s belongs to root and allows more than reading by its group: use chmod 640",
						EVC_PATH_SHOWN(w->path));
	return EVC_OK;
}

static evc_code
walk_start(walk *w, evc_err *err)
{
	char		cwd[PATH_MAX];

	if (w->path[0] == '\0')
		return evc_fail(err, EVC_FILE_ERROR, "the path of the file is empty");
	if (!push_rest(w, w->path))
		return fail_path(w, ENAMETOOLONG, "reach", err);
	if (w->path[0] != '/')
	{
		if (getcwd(cwd, sizeof(cwd)) == NULL)
			return fail_path(w, errno, "reach", err);
		if (!push_rest(w, cwd))
			return fail_path(w, ENAMETOOLONG, "reach", err);
	}
	return enter_root(w, err);
}

static evc_code
walk_path(walk *w, evc_err *err)
{
	evc_code	code = walk_start(w, err);

	while (code == EVC_OK && !w->done)
		code = walk_step(w, err);
	if (code == EVC_OK && w->rule->nforbidden > 0)
		code = check_ancestors(w, err);
	if (code == EVC_OK && w->at->exists)
		code = check_file(w, &w->at->st, err);
	return code;
}

evc_code
evc_place_find(const char *path, const evc_file_rule *rule, evc_place *place,
			   evc_err *err)
{
	walk		w = {.rule = rule, .path = path, .at = place};
	evc_code	code;

	memset(place, 0, sizeof(*place));
	place->dirfd = -1;
	code = walk_path(&w, err);
	if (code != EVC_OK)
		evc_place_end(place);
	return code;
}

void
evc_place_end(evc_place *place)
{
	if (place->dirfd >= 0)
		close(place->dirfd);
	place->dirfd = -1;
}

/*
 * The file was looked at before it is opened, because opening a device can do
 * things; the descriptor is looked at after, because only that will be read.
 * A name that leads elsewhere by now is a file that was replaced meanwhile.
 */
static evc_code
open_found(walk *w, int *fd, evc_err *err)
{
	struct stat st;

	*fd = openat(w->at->dirfd, w->at->name,
				 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) != 0)
		return fail_path(w, errno, "read", err);
	if (st.st_dev != w->at->st.st_dev || st.st_ino != w->at->st.st_ino)
		return evc_fail(err, EVC_FILE_ERROR, "%s%s was replaced while it was opened: try again",
						EVC_PATH_SHOWN(w->path));
	w->at->st = st;
	return check_file(w, &st, err);
}

/* One byte more than the file should have shows that it grew. */
static evc_code
read_all(walk *w, int fd, size_t limit, evc_secret_text *text, evc_err *err)
{
	size_t		room;

	if (w->at->st.st_size < 0 || (uintmax_t) w->at->st.st_size > limit)
		return evc_fail(err, EVC_FILE_FORMAT, "%s%s is larger than %zu bytes",
						EVC_PATH_SHOWN(w->path), limit);
	room = (size_t) w->at->st.st_size + 1;
	text->data = malloc(room);
	if (text->data == NULL)
		return evc_fail(err, EVC_NO_MEMORY, "out of memory");
	while (text->len < room)
	{
		ssize_t		n = read(fd, text->data + text->len, room - text->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_path(w, errno, "read", err);
		if (n == 0)
			return EVC_OK;
		text->len += (size_t) n;
	}
	return evc_fail(err, EVC_FILE_ERROR, "%s%s grew while it was read: try again",
					EVC_PATH_SHOWN(w->path));
}

evc_code
evc_securefile_read(const char *path, const evc_file_rule *rule, size_t limit,
					evc_secret_text *text, evc_err *err)
{
	evc_place	place = {.dirfd = -1};
	walk		w = {.rule = rule, .path = path, .at = &place};
	int			fd = -1;
	evc_code	code;

	memset(text, 0, sizeof(*text));
	code = walk_path(&w, err);
	if (code == EVC_OK && !place.exists)
		code = fail_path(&w, ENOENT, "read", err);
	if (code == EVC_OK)
		code = open_found(&w, &fd, err);
	if (code == EVC_OK)
		code = read_all(&w, fd, limit, text, err);

	if (code != EVC_OK)
		evc_secret_text_free(text);
	if (fd >= 0)
		close(fd);
	evc_place_end(&place);
	return code;
}

void
evc_secret_text_free(evc_secret_text *text)
{
	if (text->data != NULL)
		evc_wipe(text->data, text->len);
	free(text->data);
	text->data = NULL;
	text->len = 0;
}

evc_code
evc_path_expand(const char *path, char *out, size_t cap, evc_err *err)
{
	const struct passwd *pw = NULL;
	int			n;

	if (strncmp(path, "~/", 2) == 0)
	{
		pw = getpwuid(geteuid());
		if (pw == NULL || pw->pw_dir == NULL || pw->pw_dir[0] != '/')
			return evc_fail(err, EVC_FILE_ERROR,
							"user %u has no home directory: name the file in full",
							(unsigned) geteuid());
	}
	n = snprintf(out, cap, "%s%s", pw != NULL ? pw->pw_dir : "",
				 pw != NULL ? path + 1 : path);
	if (n < 0 || (size_t) n >= cap)
		return evc_fail(err, EVC_TOO_LONG, "a path is longer than %zu bytes",
						cap - 1);
	return EVC_OK;
}
