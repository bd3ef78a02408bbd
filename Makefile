# sepit: everything is a target here. `make help` lists them.
MODE  ?= release
# The instruction set to build for; set ARCH=x86-64-v3 (say) where login and compute nodes differ.
ARCH  ?= native
BUILD ?= build/$(MODE)
CC    = mpicc
CXX   = g++

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory
Q = $(if $(V),,@)

# ---- what must be installed -------------------------------------------------------------------
# name-of-thing:Debian package; found by pkg-config, by program or by header.
PKG_MODULES   = ompi:libopenmpi-dev hdf5-openmpi:libhdf5-openmpi-dev libcjson:libcjson-dev \
                openblas:libopenblas-dev scalapack-openmpi:libscalapack-openmpi-dev \
                sentencepiece:libsentencepiece-dev libutf8proc:libutf8proc-dev zlib:zlib1g-dev \
                libxxhash:libxxhash-dev
PKG_PROGRAMS  = gcc:gcc g++:g++ pkg-config:pkg-config mpicc:libopenmpi-dev mpirun:openmpi-bin \
                spm_train:sentencepiece h5dump:hdf5-tools
PKG_HEADERS   = oneapi/dnnl/dnnl.h:libdnnl-dev
# Real entries and structures for the demo and the tests, and the formatter of `format-check`.
DATA_FILES    = /usr/share/EMBOSS/test/swiss/seq.dat:emboss-test \
                /usr/share/doc/python-biopython-doc/Tests/PDB:python-biopython-doc \
                /usr/share/doc/theseus/examples:theseus-examples
DEV_PROGRAMS  = clang-format:clang-format

define DEPS_SCRIPT
missing=; \
for p in $(PKG_PROGRAMS) $(1); do command -v $${p%%:*} >/dev/null 2>&1 || missing="$$missing $${p##*:}"; done; \
for p in $(PKG_MODULES); do pkg-config --exists $${p%%:*} 2>/dev/null || missing="$$missing $${p##*:}"; done; \
for p in $(PKG_HEADERS); do echo "#include <$${p%%:*}>" | gcc -E -x c - >/dev/null 2>&1 || missing="$$missing $${p##*:}"; done; \
for p in $(2); do [ -e $${p%%:*} ] || missing="$$missing $${p##*:}"; done; \
missing=$$(echo $$missing | tr ' ' '\n' | sort -u | tr '\n' ' '); \
[ -n "$$(echo $$missing)" ] || exit 0; \
echo "missing: $$missing"; \
if ! command -v apt-get >/dev/null 2>&1; then \
    echo "There is no apt-get here. Install these (Debian's names), or load the modules that provide them,"; \
    echo "so that pkg-config and mpicc find them, then run make again: $$missing"; exit 1; fi; \
as_root=; if [ "$$(id -u)" != 0 ]; then \
    command -v sudo >/dev/null 2>&1 || { echo "Ask an administrator: apt-get install $$missing"; exit 1; }; as_root=sudo; fi; \
echo "installing with apt-get (a few minutes the first time)"; log=$$(mktemp); \
{ $$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; } >$$log 2>&1 \
    || { tail -n 20 $$log; echo "apt-get failed; its whole output is in $$log"; exit 1; }; rm -f $$log
endef

# ---- compiler flags, found once and kept ------------------------------------------------------
NEEDS_FLAGS := $(filter-out help deps format format-check layers clean info,$(or $(MAKECMDGOALS),all))
ifneq ($(NEEDS_FLAGS),)
-include build/flags.mk
endif

build/flags.mk: Makefile
	@$(call DEPS_SCRIPT,,)
	@mkdir -p build
	@set -e; modules="hdf5-openmpi libcjson sentencepiece libutf8proc zlib libxxhash openblas scalapack-openmpi"; \
	cflags=$$(pkg-config --cflags ompi $$modules | sed 's/-I/-isystem /g'); \
	libs=$$(pkg-config --libs $$modules); \
	{ echo "PKG_CFLAGS = $$cflags"; echo "PKG_LIBS = $$libs -ldnnl"; } >$@.new; mv $@.new $@

WARN   = -Wall -Wextra -Wshadow -Wconversion
COMMON = -D_GNU_SOURCE -I. -fopenmp -g -MMD -MP $(PKG_CFLAGS)
# Contraction to fused multiply-add and the two -fno flags change no value that anyone relies on;
# nothing here is -ffast-math.
OPT_release = -O3 -march=$(ARCH) -ffp-contract=fast -fno-math-errno -fno-trapping-math
OPT_debug   = -O0 -DSEPIT_DEBUG
OPT_asan    = -O1 -march=$(ARCH) -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DSEPIT_DEBUG
OPT_double  = -O2 -march=$(ARCH) -ffp-contract=fast -fno-math-errno -fno-trapping-math -DSEPIT_DOUBLE
ifeq ($(OPT_$(MODE)),)
$(error MODE=$(MODE) is unknown: release, debug, asan or double)
endif
CFLAGS   = -std=c11 $(WARN) $(OPT_$(MODE)) $(COMMON)
CXXFLAGS = -std=c++17 $(WARN) $(OPT_$(MODE)) $(COMMON)
LDLIBS   = $(filter -fsanitize%,$(OPT_$(MODE))) -fopenmp $(PKG_LIBS) -lstdc++ -lm -lpthread

# ---- the program, a library of its parts, and the tests ---------------------------------------
# SKIP=FILES leaves sources out.
SOURCES := $(filter-out $(SKIP),$(wildcard src/*/*.c parallel/*.c io/*.c src/*/*.cc io/*.cc))
PARTS   := $(patsubst %,$(BUILD)/%.o,$(basename $(filter-out src/cli/main.c,$(SOURCES))))
LIBRARY := $(BUILD)/libsepit.a
TESTS_C := $(sort $(wildcard tests/unit/*.c tests/parallel/*.c tests/numerics/*.c tests/end_to_end/*.c))
TESTS_SH:= $(sort $(wildcard tests/unit/*.sh tests/parallel/*.sh tests/numerics/*.sh tests/end_to_end/*.sh))
# Minutes each, under a real Slurm: make check-slow.
TESTS_SLOW := $(sort $(filter-out tests/slurm/cluster.sh tests/slurm/stand_in.sh,$(wildcard tests/slurm/*.sh)))
TEST_BINARIES = $(patsubst %.c,$(BUILD)/%,$(TESTS_C))

all: $(BUILD)/sepit ## build the program: build/MODE/sepit (MODE=release|debug|asan|double)

$(BUILD)/sepit: $(BUILD)/src/cli/main.o $(LIBRARY)
	@echo "  link  $@"
	$(Q)$(CC) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(PARTS)
	@echo "  ar    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

# Everything is compiled again when how it is compiled changes, and only then.
FLAGS = $(CC) $(CFLAGS) $(CXX) $(CXXFLAGS) $(LDLIBS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D); echo "$(FLAGS)" | cmp -s - $@ || echo "$(FLAGS)" >$@
FORCE:

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D); echo "  cc    $<"
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.cc $(BUILD)/flags
	@mkdir -p $(@D); echo "  c++   $<"
	$(Q)$(CXX) $(CXXFLAGS) -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(LIBRARY)
	@mkdir -p $(@D); echo "  test  $<"
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(LIBRARY) $(LDLIBS)

-include $(PARTS:.o=.d) $(BUILD)/src/cli/main.d $(TEST_BINARIES:=.d)

tests: $(BUILD)/sepit $(TEST_BINARIES)

run-tests: tests
	@tests/run $(MODE) $(BUILD) $(or $(ONLY),$(TESTS_C) $(TESTS_SH))

deps: ## install what is missing (apt-get), or say exactly what to install or load
	@$(call DEPS_SCRIPT,$(DEV_PROGRAMS),$(DATA_FILES))

check: deps ## all tests: release, double (gradients) and sanitizer builds
	@tests/check

check-slow: all ## tests under a real Slurm on this machine (needs slurm-wlm and munge)
	@tests/run $(MODE) $(BUILD) $(or $(ONLY),$(TESTS_SLOW))

demo: deps ## from real Swiss-Prot entries to a trained model that answers (2 ranks)
	@$(MAKE) -j$$(nproc) MODE=release all
	@configs/demo/run $(BUILD)/sepit

bench: all ## kernels, training step and builder: the figures of README's table
	@configs/bench/run $(BUILD)/sepit

# ---- looking after the code -------------------------------------------------------------------
FORMATTED = $(wildcard src/*/*.[ch] parallel/*.[ch] io/*.[ch] io/*.cc tests/*.h tests/*/*.[ch])

format: ## format every source file in place
	@clang-format -i $(FORMATTED)

format-check: ## fail if a source file is not formatted
	@$(call DEPS_SCRIPT,$(DEV_PROGRAMS),)
	@clang-format --dry-run -Werror $(FORMATTED) && echo "format: $(words $(FORMATTED)) files as they should be"

tidy: build/flags.mk ## clang-tidy's opinion
	@$(call DEPS_SCRIPT,clang-tidy:clang-tidy,)
	@clang-tidy --quiet $(filter %.c,$(SOURCES)) -- -std=c11 $(COMMON)

layers: ## check that includes point downwards and each foreign library has one home
	@tests/layers

info: ## what this build would use
	@echo "mode $(MODE), arch $(ARCH), folder $(BUILD)"; cat build/flags.mk 2>/dev/null; \
	lscpu | grep -E 'Model name|^CPU\(s\)'; gcc --version | head -n 1; mpirun --version 2>/dev/null | head -n 1

clean: ## remove what was built (runs/ stays)
	@rm -rf build

help: ## this list
	@echo "sepit: trains structure-enhanced protein instruction models under MPI"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: FORCE all tests run-tests deps check check-slow demo bench format format-check tidy layers info clean help
