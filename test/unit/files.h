/*
 * files.h
 *	  A directory of its own for a test, and files in it.
 */
#ifndef FILES_H
#define FILES_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/evc-test-XXXXXX";

/* A path below the test's directory; four live at a time. */
static const char *
at(const char *name)
{
	static char joined[4][512];
	static int	next = 0;
	char	   *out = joined[next++ % 4];

	snprintf(out, sizeof(joined[0]), "%s/%s", top, name);
	return out;
}

static void
must(bool done, const char *what)
{
	if (!done)
	{
		perror(what);
		exit(1);
	}
}

static void
write_file(const char *name, const char *text, mode_t mode)
{
	int			fd;

	(void) unlink(at(name));
	fd = open(at(name), O_WRONLY | O_CREAT | O_EXCL, 0600);
	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text), name);
	must(fchmod(fd, mode) == 0 && close(fd) == 0, name);
}

static void
make_dir(const char *name, mode_t mode)
{
	must(mkdir(at(name), 0700) == 0 && chmod(at(name), mode) == 0, name);
}

static void
make_link(const char *target, const char *name)
{
	must(symlink(target, at(name)) == 0, name);
}

static void
make_top(void)
{
	must(mkdtemp(top) != NULL, top);
}

static void
remove_top(void)
{
	char		command[sizeof(top) + 16];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	must(system(command) == 0, command);
}

#endif							/* FILES_H */
