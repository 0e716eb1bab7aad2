/*
 * t_securefile.c
 *	  Who may own a file with secrets, and where it may lie: every rule with
 *	  the file that keeps it and the one that breaks it.
 *
 * Runs as root, who can give files away, and as anybody else; what only root
 * can set up is skipped otherwise.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "kms/securefile.h"
#include "tap.h"

#define LIMIT	1000
#define OTHER	12345			/* a user who is nobody here */

static uid_t me;

/*
 * What somebody else does between the look at a file "swapped" and its
 * opening: put another file in its place, or change its mode.
 */
static const char *swap_with;
static mode_t swap_mode;

static void swap_now(void);

__attribute__((visibility("default"))) int
openat(int dirfd, const char *path, int flags,...)
{
	va_list		args;
	mode_t		mode;

	va_start(args, flags);
	mode = (flags & O_CREAT) != 0 ? (mode_t) va_arg(args, int) : 0;
	va_end(args);
	if (strcmp(path, "swapped") == 0)
		swap_now();
	return (int) syscall(SYS_openat, dirfd, path, flags, mode);
}

/* Read with the rule; the text must be "text" or the code another than OK. */
static void
reads_as(const char *what, const char *path, const evc_file_rule *rule, evc_code expected)
{
	evc_err		err = EVC_ERR_INIT;
	evc_secret_text text;
	evc_code	code = evc_securefile_read(path, rule, LIMIT, &text, &err);

	ok(code == expected &&
	   (code != EVC_OK ? text.data == NULL : text.len == 4 && memcmp(text.data, "text", 4) == 0),
	   "%s (%d: %s)", what, code, err.msg);
	evc_secret_text_free(&text);
}

static void
reads(const char *what, const char *name, evc_code expected)
{
	evc_file_rule rule = {.owner = me};

	reads_as(what, at(name), &rule, expected);
}

static void
test_modes(void)
{
	static const struct
	{
		mode_t		mode;
		evc_code	code;
	}			cases[] = {
		{0600, EVC_OK}, {0400, EVC_OK}, {0700, EVC_OK}, {0640, EVC_FILE_UNSAFE},
		{0620, EVC_FILE_UNSAFE}, {0610, EVC_FILE_UNSAFE}, {0604, EVC_FILE_UNSAFE},
		{0602, EVC_FILE_UNSAFE}, {0601, EVC_FILE_UNSAFE}, {0666, EVC_FILE_UNSAFE}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		what[64];

		write_file("f", "text", cases[i].mode);
		snprintf(what, sizeof(what), "own file of mode %04o", (unsigned) cases[i].mode);
		reads(what, "f", cases[i].code);
	}
	write_file("f", "text", 0600);
}

static void
test_owners_as_root(void)
{
	evc_file_rule mine = {.owner = 0};
	evc_file_rule other = {.owner = OTHER};

	write_file("o", "text", 0640);
	reads_as("root's file, group may read, for another user", at("o"), &other, EVC_OK);
	reads_as("the same, but the server is root", at("o"), &mine, EVC_FILE_UNSAFE);
	chmod(at("o"), 0644);
	reads_as("root's file that all may read", at("o"), &other, EVC_FILE_UNSAFE);
	chmod(at("o"), 0660);
	reads_as("root's file that its group may write", at("o"), &other, EVC_FILE_UNSAFE);
	chmod(at("o"), 0650);
	reads_as("root's file that its group may run", at("o"), &other, EVC_FILE_UNSAFE);
	chmod(at("o"), 0700);
	reads_as("root's file of mode 0700", at("o"), &other, EVC_OK);
	must(chmod(at("o"), 0600) == 0 && chown(at("o"), OTHER, OTHER) == 0, "chown");
	reads_as("the server user's file in root's directory", at("o"), &other, EVC_OK);
	reads_as("another user's file", at("o"), &mine, EVC_FILE_UNSAFE);
	chmod(at("o"), 0640);
	reads_as("the server user's file, group may read", at("o"), &other, EVC_FILE_UNSAFE);

	make_dir("theirs", 0700);
	write_file("theirs/f", "text", 0600);
	must(chown(at("theirs"), OTHER, OTHER) == 0, "chown");
	reads_as("root's file in the server user's directory", at("theirs/f"), &other, EVC_OK);
	reads_as("own file in another user's directory", at("theirs/f"), &mine, EVC_FILE_UNSAFE);
	must(chmod(at("theirs"), 01777) == 0, "chmod");
	reads_as("the server user's sticky directory", at("theirs/f"), &other, EVC_FILE_UNSAFE);
	must(chmod(at("theirs"), 0700) == 0, "chmod");
	make_link("theirs/../f", "through");
	reads_as("a link that leads through another user's directory", at("through"), &mine,
			 EVC_FILE_UNSAFE);
}

/* A sticky directory of root's is accepted, a link of a stranger in it is not. */
static void
test_sticky_as_root(void)
{
	make_dir("sticky", 01777);
	write_file("sticky/f", "text", 0600);
	reads("own file in root's sticky directory", "sticky/f", EVC_OK);
	make_link("../f", "sticky/l");
	reads("own link in root's sticky directory", "sticky/l", EVC_OK);
	must(lchown(at("sticky/l"), OTHER, OTHER) == 0, "lchown");
	reads("a stranger's link in root's sticky directory", "sticky/l", EVC_FILE_UNSAFE);
}

static void
test_owners(void)
{
	evc_file_rule other = {.owner = me + 1};

	if (me == 0)
	{
		test_owners_as_root();
		test_sticky_as_root();
		return;
	}
	reads_as("own file, but the server is another user", at("f"), &other, EVC_FILE_UNSAFE);
	reads_as("root's file that all may read", "/etc/passwd", &other, EVC_FILE_UNSAFE);
	make_dir("sticky", 01777);
	write_file("sticky/f", "text", 0600);
	reads("a sticky directory that is not root's", "sticky/f", EVC_FILE_UNSAFE);
	write_file("locked", "text", 0000);
	reads("a file that cannot be read", "locked", EVC_FILE_ERROR);
	skip("files of several owners", "needs root");
}

static void
test_directories(void)
{
	static const struct
	{
		mode_t		mode;
		evc_code	code;
	}			cases[] = {
		{0700, EVC_OK}, {0755, EVC_OK}, {0770, EVC_FILE_UNSAFE}, {0720, EVC_FILE_UNSAFE},
		{0702, EVC_FILE_UNSAFE}, {0777, EVC_FILE_UNSAFE}, {0711, EVC_OK}
	};

	make_dir("d", 0700);
	make_dir("d/e", 0700);
	write_file("d/e/f", "text", 0600);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		char		what[80];

		chmod(at("d"), cases[i].mode);
		snprintf(what, sizeof(what), "directory of mode %04o above", (unsigned) cases[i].mode);
		reads(what, "d/e/f", cases[i].code);
	}
	chmod(at("d"), 0777);
	reads("a writable directory left again by ..", "d/../f", EVC_FILE_UNSAFE);
	make_link("d/e/f", "into");
	reads("a link into a writable directory", "into", EVC_FILE_UNSAFE);
	make_link("../f", "d/out");
	reads("a link in a writable directory", "d/out", EVC_FILE_UNSAFE);
	make_link(at("d"), "dl");
	reads("a link to a writable directory, left by ..", "dl/../f", EVC_FILE_UNSAFE);
	chmod(at("d"), 0700);
	reads("the same when nobody else can write it", "dl/../f", EVC_OK);
}

static void
test_links(void)
{
	make_link("f", "relative");
	reads("a relative link", "relative", EVC_OK);
	make_link(at("f"), "absolute");
	reads("an absolute link", "absolute", EVC_OK);
	make_link("absolute", "chain");
	reads("a link to a link", "chain", EVC_OK);
	make_link("d/e", "dir");
	reads("a link to a directory on the path", "dir/f", EVC_OK);
	make_link("d/../d//./e/", "dots");
	reads("a link with dots and slashes", "dots/../e/f", EVC_OK);
	make_link("nowhere", "dangling");
	reads("a dangling link", "dangling", EVC_FILE_MISSING);
	make_link("loop", "loop");
	reads("a link to itself", "loop", EVC_FILE_ERROR);
	write_file("open", "text", 0644);
	make_link("open", "toopen");
	reads("a link to a file others can read", "toopen", EVC_FILE_UNSAFE);
}

static void
test_kinds(void)
{
	evc_file_rule rule = {.owner = me};

	must(mkfifo(at("fifo"), 0600) == 0, "mkfifo");
	reads("a FIFO, without waiting", "fifo", EVC_FILE_UNSAFE);
	make_link("fifo", "tofifo");
	reads("a link to a FIFO", "tofifo", EVC_FILE_UNSAFE);
	reads("a directory", "d", EVC_FILE_UNSAFE);
	reads_as("a device", "/dev/null", &rule, EVC_FILE_UNSAFE);
	reads_as("the root directory", "/", &rule, EVC_FILE_ERROR);
	reads_as("an empty path", "", &rule, EVC_FILE_ERROR);
	reads("nothing there", "none", EVC_FILE_MISSING);
	reads("nothing there, nor its directory", "none/f", EVC_FILE_MISSING);
	reads("a file as a directory", "f/f", EVC_FILE_ERROR);
}

static void
test_relative(void)
{
	evc_file_rule rule = {.owner = me};

	must(chdir(at("d")) == 0, "chdir");
	reads_as("a path from the current directory", "e/f", &rule, EVC_OK);
	reads_as("one with ..", "../f", &rule, EVC_OK);
	reads_as("one with .", "./e/./f", &rule, EVC_OK);
	chmod(at("d"), 0777);
	reads_as("a current directory others can write", "e/f", &rule, EVC_FILE_UNSAFE);
	chmod(at("d"), 0700);
	must(chdir("/") == 0, "chdir");
}

static evc_dir_id
identify(const char *name)
{
	struct stat st;
	evc_dir_id	id;

	must(stat(at(name), &st) == 0, name);
	id.dev = st.st_dev;
	id.ino = st.st_ino;
	return id;
}

static void
test_forbidden(void)
{
	evc_dir_id	forbidden[2];
	evc_file_rule rule = {.owner = me,.forbidden = forbidden,.nforbidden = 2};

	make_dir("data", 0700);
	make_dir("data/base", 0700);
	make_dir("space", 0700);
	make_dir("data2", 0700);
	write_file("data/f", "text", 0600);
	write_file("data/base/f", "text", 0600);
	write_file("space/f", "text", 0600);
	write_file("data2/f", "text", 0600);
	forbidden[0] = identify("space");
	forbidden[1] = identify("data");
	reads_as("inside the data directory", at("data/f"), &rule, EVC_FILE_UNSAFE);
	reads_as("deeper inside", at("data/base/f"), &rule, EVC_FILE_UNSAFE);
	reads_as("inside a tablespace", at("space/f"), &rule, EVC_FILE_UNSAFE);
	reads_as("beside the data directory", at("data2/f"), &rule, EVC_OK);
	reads_as("in and out again", at("data/../f"), &rule, EVC_OK);
	make_link("data/base/f", "todata");
	reads_as("a link into the data directory", at("todata"), &rule, EVC_FILE_UNSAFE);
	make_link("data", "alias");
	reads_as("the data directory by another name", at("alias/base/f"), &rule, EVC_FILE_UNSAFE);
	make_link(at("f"), "data/out");
	reads_as("a link from there to a file elsewhere", at("data/out"), &rule, EVC_OK);
	forbidden[0] = identify(".");
	reads_as("far below", at("d/e/f"), &rule, EVC_FILE_UNSAFE);
}

static void
test_sizes(void)
{
	char		big[LIMIT + 2];
	evc_file_rule rule = {.owner = me};
	evc_err		err = EVC_ERR_INIT;
	evc_secret_text text;

	memset(big, 'x', sizeof(big));
	big[LIMIT + 1] = '\0';
	write_file("big", big, 0600);
	ok(evc_securefile_read(at("big"), &rule, LIMIT, &text, &err) == EVC_FILE_FORMAT &&
	   text.data == NULL, "a file larger than the limit (%s)", err.msg);
	big[LIMIT] = '\0';
	write_file("big", big, 0600);
	ok(evc_securefile_read(at("big"), &rule, LIMIT, &text, &err) == EVC_OK &&
	   text.len == LIMIT, "a file as large as the limit");
	evc_secret_text_free(&text);
	write_file("big", "", 0600);
	ok(evc_securefile_read(at("big"), &rule, LIMIT, &text, &err) == EVC_OK &&
	   text.len == 0, "an empty file");
	evc_secret_text_free(&text);
	evc_secret_text_free(&text);
}

static void
test_long_paths(void)
{
	char		path[6000];
	evc_file_rule rule = {.owner = me};
	evc_err		err = EVC_ERR_INIT;
	evc_secret_text text;

	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	reads_as("a path too long", path, &rule, EVC_FILE_ERROR);
	path[300] = '\0';
	reads_as("a name too long", path, &rule, EVC_FILE_ERROR);
	for (int i = 0; i < 150; i++)
		memcpy(path + 2 * i, "/.", 2);
	strcpy(path + 300, at("none"));
	ok(evc_securefile_read(path, &rule, LIMIT, &text, &err) == EVC_FILE_MISSING &&
	   strstr(err.msg, "/none does not exist") != NULL, "a long path's end is shown (%s)", err.msg);
	strcpy(path + 300, at("f"));
	reads_as("a long path", path, &rule, EVC_OK);
}

static void
test_expand(void)
{
	char		path[512];
	char		expected[512];
	struct passwd *pw = getpwuid(geteuid());
	evc_err		err = EVC_ERR_INIT;

	setenv("HOME", "/elsewhere", 1);
	if (pw == NULL)
		skip("the home directory", "the user has no entry");
	else
	{
		snprintf(expected, sizeof(expected), "%s/x/y", pw->pw_dir);
		ok(evc_path_expand("~/x/y", path, sizeof(path), &err) == EVC_OK &&
		   strcmp(path, expected) == 0, "~ is the user's home directory and not $HOME");
	}
	ok(evc_path_expand("/x/~/y", path, sizeof(path), &err) == EVC_OK &&
	   strcmp(path, "/x/~/y") == 0, "other paths stay as they are");
	ok(evc_path_expand("~x/y", path, sizeof(path), &err) == EVC_OK &&
	   strcmp(path, "~x/y") == 0, "no other user's home directory");
	ok(evc_path_expand("/1234567", path, 8, &err) == EVC_TOO_LONG &&
	   evc_path_expand("/123456", path, 8, &err) == EVC_OK, "the length is checked");
}

static void
swap_now(void)
{
	if (swap_with != NULL)
		must(rename(at(swap_with), at("swapped")) == 0, "rename");
	if (swap_mode != 0)
		must(chmod(at("swapped"), swap_mode) == 0, "chmod");
}

static void
test_swapped(void)
{
	write_file("swapped", "text", 0600);
	reads("a file that stays", "swapped", EVC_OK);
	swap_mode = 0644;
	reads("a file opened to others meanwhile", "swapped", EVC_FILE_UNSAFE);
	swap_mode = 0;

	write_file("swapped", "text", 0600);
	write_file("better", "text", 0600);
	swap_with = "better";
	reads("a file replaced meanwhile", "swapped", EVC_FILE_ERROR);
	must(symlink("f", at("better")) == 0, "symlink");
	reads("a file replaced by a link meanwhile", "swapped", EVC_FILE_ERROR);
	(void) unlink(at("swapped"));
	write_file("swapped", "text", 0600);
	must(mkfifo(at("better"), 0600) == 0, "mkfifo");
	reads("a file replaced by a FIFO meanwhile", "swapped", EVC_FILE_ERROR);
	swap_with = NULL;
}

/*
 * While another process puts one file and then another in place, one of them
 * open to others, only the right one is ever read.
 */
static void
test_race(void)
{
	evc_file_rule rule = {.owner = me};
	int			good = 0;
	int			refused = 0;
	int			wrong = 0;
	pid_t		child;

	make_dir("race", 0700);
	child = fork();
	if (child == 0)
	{
		for (;;)
		{
			write_file("race/a", "text", 0600);
			rename(at("race/a"), at("race/f"));
			write_file("race/b", "evil", 0644);
			rename(at("race/b"), at("race/f"));
			unlink(at("race/f"));
			(void) !symlink("../open", at("race/f"));
			unlink(at("race/f"));
		}
	}
	for (int i = 0; i < 20000 && (i < 2000 || good < 20); i++)
	{
		evc_err		err = EVC_ERR_INIT;
		evc_secret_text text;

		if (evc_securefile_read(at("race/f"), &rule, LIMIT, &text, &err) == EVC_OK)
		{
			good++;
			wrong += text.len != 4 || memcmp(text.data, "text", 4) != 0;
		}
		else
			refused++;
		evc_secret_text_free(&text);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	ok(wrong == 0, "files swapped all the time: %d read, %d refused, %d wrong",
	   good, refused, wrong);
}

static int
open_files(void)
{
	DIR		   *dir = opendir("/proc/self/fd");
	int			n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

int
main(void)
{
	int			before;

	me = geteuid();
	umask(0);
	make_top();
	alarm(60);
	before = open_files();
	test_modes();
	test_owners();
	test_directories();
	test_links();
	test_kinds();
	test_relative();
	test_forbidden();
	test_sizes();
	test_long_paths();
	test_expand();
	test_swapped();
	test_race();
	ok(open_files() == before, "no file was left open");
	remove_top();
	return done_testing();
}
