/*
 * localkeys.c
 *	  Root keys of the "local" endpoint, as the server reaches them.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "envcrypt.h"
#include "guc.h"
#include "localkeys.h"

typedef struct DirList
{
	evc_dir_id *ids;
	size_t		n;
	size_t		cap;
} DirList;

/*
 * Directories are kept apart by identity, so that no link leads around it.
 * One that cannot be looked at is none that the path to the key file leads
 * through: that is walked directory by directory.
 */
static void
forbid(DirList *dirs, const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return;
	if (dirs->n == dirs->cap)
	{
		dirs->cap *= 2;
		dirs->ids = repalloc(dirs->ids, dirs->cap * sizeof(evc_dir_id));
	}
	dirs->ids[dirs->n].dev = st.st_dev;
	dirs->ids[dirs->n++].ino = st.st_ino;
}

/* A key file among the data would be in every base backup. */
static DirList
forbidden_dirs(void)
{
	DirList		dirs = {.cap = 8};
	DIR		   *dir = AllocateDir("pg_tblspc");
	struct dirent *de;

	dirs.ids = palloc(dirs.cap * sizeof(evc_dir_id));
	forbid(&dirs, DataDir);
	while ((de = ReadDir(dir, "pg_tblspc")) != NULL)
	{
		char		path[MAXPGPATH];

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "pg_tblspc/%s", de->d_name);
		forbid(&dirs, path);
	}
	FreeDir(dir);
	return dirs;
}

evc_code
envcrypt_local_open(evc_keyfile **kf, evc_err *err)
{
	DirList		dirs = forbidden_dirs();
	evc_file_rule rule = {.owner = geteuid(),.forbidden = dirs.ids,.nforbidden = dirs.n};
	char		path[MAXPGPATH];
	evc_code	rc = evc_path_expand(envcrypt_local_key_file, path, sizeof(path), err);

	if (rc == EVC_OK)
		rc = evc_keyfile_open(path, &rule, kf, err);
	pfree(dirs.ids);
	return rc;
}
