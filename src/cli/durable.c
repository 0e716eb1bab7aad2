/*
 * durable.c
 *	  Writing files that hold secrets.
 *
 * All names are used relative to the directory that evc_place_find checked
 * and left open, never looked up a second time.
 */
#include "cli/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/secret.h"

#define TEMP_NAME_BYTES 40
#define LOCK_TRIES		100		/* a tenth of a second each */

static evc_code
fail_path(const char *doing, const char *path, evc_err *err)
{
	int			saved = errno;

	return evc_fail_errno(err, EVC_FILE_ERROR, saved, "cannot %s %s%s: %s",
						  doing, EVC_PATH_SHOWN(path), strerror(saved));
}

static evc_code
write_all(int fd, const char *data, size_t len, const char *path, evc_err *err)
{
	while (len > 0)
	{
		ssize_t		n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_path("write", path, err);
		data += n;
		len -= (size_t) n;
	}
	return EVC_OK;
}

/* Owner, group and mode of the file that is replaced, else mode 0600. */
static evc_code
set_owner(int fd, const evc_place *place, const char *path, evc_err *err)
{
	struct stat st;
	mode_t		mode = S_IRUSR | S_IWUSR;

	if (fstat(fd, &st) != 0)
		return fail_path("write", path, err);
	if (place->exists)
	{
		mode = place->st.st_mode & 07777;
		if ((st.st_uid != place->st.st_uid || st.st_gid != place->st.st_gid) &&
			fchown(fd, place->st.st_uid, place->st.st_gid) != 0)
			return fail_path("keep the owner of", path, err);
	}
	if (fchmod(fd, mode) != 0)
		return fail_path("set the mode of", path, err);
	return EVC_OK;
}

/* Write the temporary file; on failure it is gone again. */
static evc_code
write_temp(int dir, const evc_place *place, const evc_secret_text *text,
		   const char *path, char *temp, evc_err *err)
{
	uint64_t	suffix;
	int			fd;
	evc_code	code = evc_random(&suffix, sizeof(suffix), err);

	if (code != EVC_OK)
		return code;
	snprintf(temp, TEMP_NAME_BYTES, ".envcrypt-%016" PRIx64 ".tmp", suffix);
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				S_IRUSR | S_IWUSR);
	if (fd < 0)
		return fail_path("write beside", path, err);

	code = set_owner(fd, place, path, err);
	if (code == EVC_OK)
		code = write_all(fd, text->data, text->len, path, err);
	if (code == EVC_OK && fsync(fd) != 0)
		code = fail_path("flush", path, err);
	if (close(fd) != 0 && code == EVC_OK)
		code = fail_path("write", path, err);
	if (code != EVC_OK)
		unlinkat(dir, temp, 0);
	return code;
}

/* link(2) refuses to replace, which rename(2) does not. */
static evc_code
publish_new(int dir, const char *temp, const char *name, const char *path,
			evc_err *err)
{
	evc_code	code = EVC_OK;

	if (linkat(dir, temp, dir, name, 0) != 0)
	{
		if (errno == EEXIST)
			code = evc_fail(err, EVC_FILE_EXISTS, "%s%s exists already",
							EVC_PATH_SHOWN(path));
		else
			code = fail_path("create", path, err);
	}
	unlinkat(dir, temp, 0);
	return code;
}

static evc_code
publish_over(int dir, const char *temp, const char *name, const char *path,
			 evc_err *err)
{
	evc_code	code = EVC_OK;

	if (renameat(dir, temp, dir, name) != 0)
	{
		code = fail_path("replace", path, err);
		unlinkat(dir, temp, 0);
	}
	return code;
}

/* The place's own descriptor may be one that cannot be flushed or locked. */
static int
open_dir(const evc_place *place)
{
	return openat(place->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static evc_code
write_file(const char *path, const evc_place *place, const evc_secret_text *text,
		   evc_err *err)
{
	char		temp[TEMP_NAME_BYTES];
	int			dir = open_dir(place);
	evc_code	code;

	if (dir < 0)
		return fail_path("open the directory of", path, err);
	code = write_temp(dir, place, text, path, temp, err);
	if (code == EVC_OK)
		code = place->exists ? publish_over(dir, temp, place->name, path, err) :
			publish_new(dir, temp, place->name, path, err);
	if (code == EVC_OK && fsync(dir) != 0)
		code = fail_path("flush the directory of", path, err);
	close(dir);
	return code;
}

evc_code
durable_create(const char *path, const evc_file_rule *rule,
			   const evc_secret_text *text, evc_err *err)
{
	evc_place	place;
	evc_code	code = evc_place_find(path, rule, &place, err);

	if (code != EVC_OK)
		return code;
	if (place.exists)
		code = evc_fail(err, EVC_FILE_EXISTS, "%s%s exists already",
						EVC_PATH_SHOWN(path));
	else
		code = write_file(path, &place, text, err);
	evc_place_end(&place);
	return code;
}

evc_code
durable_replace(const char *path, const evc_file_rule *rule,
				const evc_secret_text *text, evc_err *err)
{
	evc_place	place;
	evc_code	code = evc_place_find(path, rule, &place, err);

	if (code != EVC_OK)
		return code;
	if (!place.exists)
		code = evc_fail(err, EVC_FILE_MISSING, "%s%s does not exist",
						EVC_PATH_SHOWN(path));
	else
		code = write_file(path, &place, text, err);
	evc_place_end(&place);
	return code;
}

evc_code
durable_lock(const char *path, const evc_file_rule *rule, int *fd, evc_err *err)
{
	const struct timespec pause = {0, 100 * 1000 * 1000};
	evc_place	place;
	evc_code	code = evc_place_find(path, rule, &place, err);

	if (code != EVC_OK)
		return code;
	*fd = open_dir(&place);
	evc_place_end(&place);
	if (*fd < 0)
		return fail_path("open the directory of", path, err);
	for (int i = 0; flock(*fd, LOCK_EX | LOCK_NB) != 0; i++)
	{
		if (errno == EWOULDBLOCK && i < LOCK_TRIES)
		{
			nanosleep(&pause, NULL);
			continue;
		}
		code = fail_path("lock the directory of", path, err);
		close(*fd);
		*fd = -1;
		break;
	}
	return code;
}

evc_code
durable_mkdir(const char *path, evc_err *err)
{
	char		dir[PATH_MAX];
	char	   *slash;
	int			parent;
	evc_code	code = EVC_OK;

	if (strlen(path) >= sizeof(dir))
		return evc_fail(err, EVC_TOO_LONG, "the path is too long");
	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (slash == NULL || slash == dir)
		return EVC_OK;
	*slash = '\0';
	if (mkdir(dir, S_IRWXU) != 0)
		return errno == EEXIST ? EVC_OK : fail_path("create", dir, err);

	*strrchr(dir, '/') = '\0';
	parent = open(dir[0] == '\0' ? "/" : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0 || fsync(parent) != 0)
		code = fail_path("flush the directory of", path, err);
	if (parent >= 0)
		close(parent);
	return code;
}
