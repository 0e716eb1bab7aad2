# envcrypt: column encryption for PostgreSQL.  "make help" lists the targets.
EXTENSION = envcrypt
MODULE_big = envcrypt
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" envcrypt.control)

CORE_OBJS = src/core/err.o src/core/secret.o src/core/registry.o src/core/codec.o \
	src/core/kdf.o src/core/direct.o src/core/cipher.o src/core/selftest.o src/core/gcm.o \
	src/core/xaes.o src/core/siv.o src/core/nonce.o src/core/envelope.o src/core/version.o \
	src/core/wrap.o
KMS_OBJS = src/kms/json.o src/kms/securefile.o src/kms/keyfile.o src/kms/local.o src/kms/keyring.o
GLUE_OBJS = src/envcrypt.o src/guc.o src/errors.o src/enc_bytea.o src/analyze.o \
	src/catalog.o src/keytables.o src/keyadmin.o src/grants.o src/keycache.o src/keyxact.o src/localkeys.o \
	src/text.o src/typed.o src/seal.o src/open.o src/info.o src/encrypt_trigger.o \
	src/guard.o src/support.o src/keyexport.o src/keyimport.o src/exportread.o src/unique.o src/check.o
OBJS = $(GLUE_OBJS) $(CORE_OBJS) $(KMS_OBJS)

CLI = src/cli/envcrypt
CLI_OBJS = $(patsubst %.c,%.o,$(wildcard src/cli/*.c))
MAN1 = $(wildcard docs/man/*.1)
COMPLETION = completions/envcrypt.bash

DATA = $(wildcard sql/envcrypt--*.sql)

# sql/ holds install scripts as well, so the tests are named one by one.
REGRESS = enc_bytea guard trigger functions errors grants typed usage
REGRESS_OPTS = --inputdir=. --outputdir=build/regress --encoding=UTF8
ISOLATION =
ISOLATION_OPTS = --inputdir=test/isolation --outputdir=build/isolation
TAP_TESTS = 1
PROVE_TESTS = $(wildcard test/tap/*.pl)
PROVE_FLAGS = --timer -I test/lib
UNIT_TESTS = $(patsubst test/unit/%.c,build/unit/%,$(wildcard test/unit/t_*.c))
FUZZERS = $(patsubst test/fuzz/%.c,build/fuzz/%,$(wildcard test/fuzz/f_*.c))

WARNINGS = -Wall -Wextra -Wno-unused-parameter
ifeq ($(ENVCRYPT_WERROR),1)
WARNINGS += -Werror
endif
PG_CPPFLAGS = -I$(srcdir)/src -DENVCRYPT_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = $(WARNINGS)
EVC_LIBS = -lcrypto -ljansson
SHLIB_LINK = $(EVC_LIBS)

# No JIT bitcode: it doubles the build and needs clang, and functions whose time
# goes into AES gain nothing from being inlined into a query's machine code.
override with_llvm = no

PG_CONFIG ?= pg_config

# Targets that must work before a server is installed, and "check", whose name
# PGXS takes for itself.  With one of them on the command line PGXS stays out;
# the other goals on that line get a make of their own.
HOUSE_GOALS = help setup check check-drivers check-versions quickstart quickstart-stop
ifneq ($(filter $(HOUSE_GOALS),$(MAKECMDGOALS)),)

PGXS_GOALS = $(filter-out $(HOUSE_GOALS),$(MAKECMDGOALS))
.PHONY: $(HOUSE_GOALS) $(PGXS_GOALS)
ifneq ($(PGXS_GOALS),)
$(PGXS_GOALS):
	+@$(MAKE) --no-print-directory $@
endif

help:
	@sed -n 's/^## //p' Makefile

setup:
	@scripts/setup build

check:
	@scripts/check $(TESTS)

check-drivers:
	@scripts/check-drivers $(TESTS)

check-versions:
	@scripts/check-versions $(VERSIONS) -- $(TESTS)

quickstart:
	@quickstart/run.sh

quickstart-stop:
	@quickstart/stop.sh

else

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error $(PG_CONFIG) names no server to build for; "make setup" installs what is missing, or set PG_CONFIG)
endif
include $(PGXS)

$(OBJS): $(wildcard src/*.h src/*/*.h)

# ---- core, KMS and command line: no server headers, nothing exported
# Only src/*.c is PostgreSQL's.  The rest is compiled once, without the
# server's include path, so an #include "postgres.h" there does not build, and
# the same objects go into the module, the tool, the unit tests.
PLAIN_CPPFLAGS = -I$(srcdir)/src -D_GNU_SOURCE -DENVCRYPT_VERSION='"$(EXTVERSION)"'
PLAIN_OBJS = $(CORE_OBJS) $(KMS_OBJS) $(CLI_OBJS)
$(PLAIN_OBJS) build/layer_probe.o: override CPPFLAGS := $(PLAIN_CPPFLAGS) \
	$(filter -D_FORTIFY_SOURCE=%,$(CPPFLAGS)) -fvisibility=hidden

$(CLI_OBJS): $(wildcard src/*/*.h)

all: $(CLI)

$(CLI): $(CLI_OBJS) $(CORE_OBJS) $(KMS_OBJS)
	$(CC) $(CFLAGS) $^ $(filter -Wl%,$(LDFLAGS)) $(EVC_LIBS) -o $@

install: install-cli
uninstall: uninstall-cli
.PHONY: install-cli uninstall-cli

# Debian keeps a server's programs and manual pages off the path; the tool is
# for people, so there it goes to /usr/local.
ifneq ($(filter /usr/lib/postgresql/%,$(bindir)),)
cli_bindir ?= /usr/local/bin
cli_mandir ?= /usr/local/share/man
else
cli_bindir ?= $(bindir)
cli_mandir ?= $(mandir)
endif
cli_completiondir ?= $(patsubst %/man,%,$(cli_mandir))/bash-completion/completions

install-cli: $(CLI)
	$(MKDIR_P) '$(DESTDIR)$(cli_bindir)' '$(DESTDIR)$(cli_mandir)/man1' \
		'$(DESTDIR)$(cli_completiondir)'
	$(INSTALL_PROGRAM) $(CLI) '$(DESTDIR)$(cli_bindir)/envcrypt'
	$(if $(MAN1),$(INSTALL_DATA) $(MAN1) '$(DESTDIR)$(cli_mandir)/man1/')
	$(INSTALL_DATA) $(COMPLETION) '$(DESTDIR)$(cli_completiondir)/envcrypt'

uninstall-cli:
	@echo 'DROP EXTENSION envcrypt comes before this, in every database that has it: without its library no value can be opened.'
	rm -f '$(DESTDIR)$(cli_bindir)/envcrypt' '$(DESTDIR)$(cli_completiondir)/envcrypt' $(patsubst docs/man/%,'$(DESTDIR)$(cli_mandir)/man1/%',$(MAN1))

# ---- tests
.PHONY: unit-tests unitcheck symcheck fuzz fuzzers bench

# The TAP tests start servers of their own, with a key file made for them.
installcheck: export ENVCRYPT_CLI = $(abspath $(CLI))
installcheck: export TEMP_CONFIG = $(CURDIR)/build/installcheck/server.conf
installcheck: build/installcheck/server.conf | build/regress build/isolation
build/installcheck/server.conf: $(CLI)
	$(MKDIR_P) $(@D)
	rm -f $(@D)/root-keys.json
	$(CLI) keygen $(CURDIR)/$(@D)/root-keys.json >/dev/null
	echo "envcrypt.local_key_file = '$(CURDIR)/$(@D)/root-keys.json'" >$@
build/regress build/isolation:
	$(MKDIR_P) $@

unit-tests: $(UNIT_TESTS)

build/unit/%: test/unit/%.c $(CORE_OBJS) $(KMS_OBJS) $(wildcard src/*/*.h test/unit/*.h)
	@$(MKDIR_P) $(@D)
	$(CC) $(PLAIN_CPPFLAGS) -I$(srcdir)/test/unit $(filter-out -Wmissing-prototypes,$(CFLAGS)) \
		$< $(CORE_OBJS) $(KMS_OBJS) $(EVC_LIBS) -o $@

unitcheck: unit-tests $(CLI)
	@ENVCRYPT_CLI='$(abspath $(CLI))' test/lib/harness --jobs 2 \
		$(UNIT_TESTS) $(wildcard test/unit/t_*.pl)

symcheck: all
	@CC='$(CC)' MAKE='$(MAKE)' SYMCHECK_TALLY='$(SYMCHECK_TALLY)' scripts/symcheck '$(MODULE_big)$(DLSUFFIX)' $(CORE_OBJS) -- $(KMS_OBJS)

# Compiled by symcheck, which adds a server header and expects that to fail.
build/layer_probe.o: build/layer_probe.c
	$(CC) $(CFLAGS) $(CPPFLAGS) -c $< -o $@

bench:
	@test/bench/run

# ---- fuzzing: everything again with clang and the sanitizers, in build/fuzz
FUZZ_CC ?= $(or $(wildcard $(CLANG)),clang)
FUZZ_SECONDS ?= 60
FUZZ_CFLAGS = -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_SRCS = $(patsubst %.o,%.c,$(CORE_OBJS) $(KMS_OBJS))
COV_CFLAGS = -g -O0 -fprofile-instr-generate -fcoverage-mapping
FUZZ_DEPS = $(FUZZ_SRCS) $(wildcard src/*/*.h test/fuzz/*.h)

build/fuzz/obj/%.o: %.c $(wildcard src/*/*.h)
	@$(MKDIR_P) $(@D)
	$(FUZZ_CC) $(PLAIN_CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -c $< -o $@

build/fuzz/cov/%.o: %.c $(wildcard src/*/*.h)
	@$(MKDIR_P) $(@D)
	$(FUZZ_CC) $(PLAIN_CPPFLAGS) $(COV_CFLAGS) -c $< -o $@

build/fuzz/f_%: test/fuzz/f_%.c $(patsubst %.c,build/fuzz/obj/%.o,$(FUZZ_SRCS))
	$(FUZZ_CC) $(PLAIN_CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer $^ $(EVC_LIBS) -o $@

# The same target without sanitizers, to count the lines a corpus reaches.
build/fuzz/cov_%: test/fuzz/f_%.c $(patsubst %.c,build/fuzz/cov/%.o,$(FUZZ_SRCS))
	$(FUZZ_CC) $(PLAIN_CPPFLAGS) $(COV_CFLAGS) -fsanitize=fuzzer $^ $(EVC_LIBS) -o $@

.SECONDARY:
fuzzers: $(FUZZERS) $(subst /f_,/cov_,$(FUZZERS))

fuzz: fuzzers
	@FUZZ_CC='$(FUZZ_CC)' FUZZ_SECONDS='$(FUZZ_SECONDS)' scripts/fuzz $(FUZZERS)

# ---- leave a running quickstart alone: it is quickstart-stop's to remove; and
# the chroots of check-versions, which take minutes to make
clean: clean-house
.PHONY: clean-house
clean-house:
	rm -f $(CLI) $(CLI_OBJS)
	rm -rf $(filter-out build/quickstart build/versions,$(wildcard build/*))
	@rmdir build 2>/dev/null || true

# For scripts: print a variable's value.
print-%:
	@echo '$($*)'

endif

## make                  build the module and src/cli/envcrypt for PG_CONFIG's server
## make install          install both, man page and bash completion (DESTDIR, cli_bindir, cli_mandir,
##                       cli_completiondir honoured)
## make uninstall        remove them
## make setup            install the packages "make check" needs
## make check            set up, build and run every test on private servers
##                       TESTS="NAME.." runs only those
## make check-versions   the same on PostgreSQL 17 and 18, in chroots kept in
##                       build/versions; needs root.  VERSIONS="17" runs one
## make check-drivers    run the recipes of docs/orm.md by their drivers; fetches these
## make installcheck     SQL and TAP tests on an installed envcrypt
## make unitcheck        C unit tests, no server
## make symcheck         check layers and symbols
## make fuzz             FUZZ_SECONDS (60) of each fuzz target
## make bench            benchmarks on a private server
## make quickstart       a private server with sample data, and what it shows
## make quickstart-stop  stop and remove it
## make clean            remove build products
