# Builds, tests and installs oci-seccomp. `make help` says what there is.
# For GNU make 4.3 and any POSIX sh.

PREFIX ?= /usr/local
DESTDIR ?=
# Which hook files to install: "annotated" ones arm the containers that ask for
# it; "always" arms every container with a profile, of every engine that reads
# the folder.
HOOK ?= annotated
# As .cargo/config.toml has it.
TARGET = x86_64-unknown-linux-gnu
CARGO ?= cargo
RELEASE = target/$(TARGET)/release/oci-seccomp
# The program to install; one that is given is taken as it is, not built.
BINARY ?= $(RELEASE)

bindir = $(PREFIX)/bin
mandir = $(PREFIX)/share/man
bashdir = $(PREFIX)/share/bash-completion/completions
zshdir = $(PREFIX)/share/zsh/site-functions
fishdir = $(PREFIX)/share/fish/vendor_completions.d
hooksdir = $(PREFIX)/share/containers/oci/hooks.d
# CRI-O reads the folder above as well, and does not start when a file there
# names a stage that it does not know. So podman's own stage has a folder apart.
datadir = $(PREFIX)/share/oci-seccomp
docdir = $(PREFIX)/share/doc/oci-seccomp
podmandir = $(datadir)/podman-hooks.d
precreate = oci-seccomp-precreate
annotated = oci-seccomp-createRuntime oci-seccomp-createContainer oci-seccomp-prestart
always = oci-seccomp-always
ifeq ($(filter annotated always,$(HOOK)),)
$(error HOOK is "$(HOOK)", but can be annotated or always)
endif
hooks = $($(HOOK))
# Where `deb` puts the package.
DEBS ?= build

# Where libseccomp.a is. Asked for when a recipe runs, since `deps` may only
# just have installed pkg-config.
libseccomp = $(or $(LIBSECCOMP_LIB_PATH),$(shell pkg-config --variable=libdir libseccomp 2>/dev/null))
cargo = $(if $(libseccomp),LIBSECCOMP_LIB_PATH='$(libseccomp)') $(CARGO)
# Where this machine keeps the crates is no part of the program: the messages of
# a panic name their files. Added to the flags of .cargo/config.toml.
CARGO_HOME ?= $(HOME)/.cargo
remap = 'target.$(TARGET).rustflags=["--remap-path-prefix=$(CARGO_HOME)/registry/src=registry"]'

# One tier after the other, real containers last.
tiers = unit doctest $(filter-out runtime podman,$(integration)) runtime podman cells
integration := $(filter-out matrix,$(shell sed -n '/^\[\[test]]/,/^path/s/^name = "\(.*\)"/\1/p' Cargo.toml))

# What the matrix is made of: runc, crun, youki, podman, rootless.
ENGINES ?= --all
# Built here if there is none.
youki = $(if $(filter --all youki,$(ENGINES)),$(if $(shell command -v youki),,build/youki/bin/youki))

.PHONY: help build test $(tiers) soak matrix bench bench-chart fuzz asan demo deps fmt lint doc man install \
	uninstall deb licenses sbom force deny semver reproducible clean

help: ## Show this
	@sed -n 's/^\([a-z][a-z-]*\):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done
	@echo
	@echo '  Variables: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) HOOK=annotated|always BINARY=FILE DEBS=DIR'
	@echo '  For matrix: ENGINES="runc crun youki podman rootless" MATRIX_JSON=FILE'
	@echo '  For bench: BENCH_RUNS=N BENCH_JSON=FILE'

build: ## Build the program: release, static
	$(cargo) build --release --target $(TARGET) --config $(remap)
	@echo "built $(RELEASE)"

test: deps ## Run all tests, those with real containers as well (as root)
	@start=$$(date +%s); for tier in $(tiers); do \
		echo "== tier $$tier, after $$(($$(date +%s) - start)) s"; \
		$(MAKE) --no-print-directory "$$tier" || { echo "== tier $$tier failed"; exit 1; }; \
	done

unit:
	$(cargo) test --lib --bins

$(integration):
	$(cargo) test --test $@

doctest:
	$(cargo) test --doc
	$(cargo) test --doc --no-default-features

soak: deps ## Arm 1000 containers one after another, and look for what is left (as root)
	OCI_SECCOMP_SOAK=1000 $(cargo) test --test faults starts_one_after_another

# The part of the matrix that every change has to pass.
cells:
	$(cargo) test --test matrix -- runc crun podman

matrix: deps $(youki) ## Show what is armed under each runtime, stage and setting (as root)
	@$(cargo) test --quiet --test matrix -- $(ENGINES)

build/youki/bin/youki:
	@.ci/deps youki
	@echo 'building youki, which takes some minutes'
	@# Elsewhere: this checkout's .cargo/config.toml is not for it.
	cd / && CARGO_TARGET_DIR='$(CURDIR)/build/youki/target' timeout 3000 $(CARGO) install youki --version 0.7.0 \
		--no-default-features --features v1,v2,seccomp --root '$(CURDIR)/build/youki'
	rm -rf build/youki/target

bench: deps $(if $(OCI_SECCOMP),,build) ## Measure starts, exec, translation and calls beside the runtimes' own (as root)
	@OCI_SECCOMP='$(or $(OCI_SECCOMP),$(CURDIR)/$(RELEASE))' $(cargo) bench --quiet --bench speed

bench-chart: ## Draw what BENCH_JSON=FILE kept of a bench: BENCH_SVG=FILE
	$(if $(and $(BENCH_JSON),$(BENCH_SVG)),,$(error BENCH_JSON and BENCH_SVG have to name files))
	@$(cargo) bench --quiet --bench speed -- --chart '$(abspath $(BENCH_JSON))' > '$(BENCH_SVG)'

# A minute each.
FUZZ_SECONDS ?= 60
fuzzers = profile state interpreter linker audit

fuzz: ## Feed random input to what reads it: FUZZ_SECONDS=60 for each target
	command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --locked
	@$(if $(libseccomp),LIBSECCOMP_LIB_PATH='$(libseccomp)') CARGO='$(CARGO)' \
		fuzz/run $(TARGET) $(FUZZ_SECONDS) $(fuzzers)

asan: deps ## Run the tests that can run so with AddressSanitizer (as root)
	@$(if $(libseccomp),LIBSECCOMP_LIB_PATH='$(libseccomp)') CARGO='$(CARGO)' integration/asan $(TARGET)

demo: deps ## Show a filter on real containers, under runc and crun (as root)
	@$(MAKE) --no-print-directory build
	integration/demo.sh $(RELEASE)

deps: ## Install what building and testing need, if it is missing (Debian)
	@.ci/deps

fmt: ## Format the code
	$(CARGO) fmt

lint: ## Check the format, and for mistakes
	$(CARGO) fmt --check
	$(cargo) clippy --all-targets -- -D warnings
	@# Not among those: it is no test for `cargo test` to find.
	$(cargo) clippy --test matrix -- -D warnings
	@# The library alone, as its users have it.
	$(cargo) clippy --no-default-features --lib --examples --test library -- -D warnings

doc: ## Build the library's documentation
	RUSTDOCFLAGS='-D warnings' $(cargo) doc --no-deps
	@# Without the program's modules, which is what is published.
	RUSTDOCFLAGS='-D warnings' $(cargo) doc --no-deps --no-default-features

man: build/man/oci-seccomp.1 ## Write the man pages and the shells' completions

build/man/oci-seccomp.1: src/cli.rs docs/profiles.md Cargo.toml $(wildcard examples/manual/*.rs)
	rm -rf build/man build/completions
	$(cargo) run --quiet --example manual -- build

# FILE,DESTINATION: the file with the program's place in it.
install_hook = { echo "hook file $(DESTDIR)$(2)" && \
	sed 's|@BINARY@|$(bindir)/oci-seccomp|' "$(1)" > "$(DESTDIR)$(2)" && chmod 644 "$(DESTDIR)$(2)"; } || exit 1

install: $(if $(filter $(RELEASE),$(BINARY)),build) man build/licenses.txt build/oci-seccomp.cdx.json ## Install program, hook files, man pages, completions, licences
	install -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(hooksdir)' '$(DESTDIR)$(podmandir)' \
		'$(DESTDIR)$(mandir)/man1' '$(DESTDIR)$(mandir)/man5' \
		'$(DESTDIR)$(bashdir)' '$(DESTDIR)$(zshdir)' '$(DESTDIR)$(fishdir)' '$(DESTDIR)$(docdir)'
	install -m 755 '$(BINARY)' '$(DESTDIR)$(bindir)/oci-seccomp'
	@# A container must not be armed twice, by the one kind and the other.
	@rm -f $(foreach hook,$(annotated) $(always),'$(DESTDIR)$(hooksdir)/$(hook).json')
	@for hook in $(hooks); do $(call install_hook,hooks/$$hook.json,$(hooksdir)/$$hook.json); done
	@$(call install_hook,hooks/podman/$(precreate).json,$(podmandir)/$(precreate).json)
	install -m 644 build/man/*.1 '$(DESTDIR)$(mandir)/man1'
	install -m 644 build/man/*.5 '$(DESTDIR)$(mandir)/man5'
	install -m 644 build/completions/oci-seccomp.bash '$(DESTDIR)$(bashdir)/oci-seccomp'
	install -m 644 build/completions/_oci-seccomp '$(DESTDIR)$(zshdir)'
	install -m 644 build/completions/oci-seccomp.fish '$(DESTDIR)$(fishdir)'
	install -m 644 build/licenses.txt build/oci-seccomp.cdx.json '$(DESTDIR)$(docdir)'

uninstall: ## Remove what install put there
	rm -f '$(DESTDIR)$(bindir)/oci-seccomp'
	rm -f $(foreach hook,$(annotated) $(always),'$(DESTDIR)$(hooksdir)/$(hook).json')
	rm -f '$(DESTDIR)$(podmandir)/$(precreate).json'
	rmdir '$(DESTDIR)$(podmandir)' '$(DESTDIR)$(datadir)' 2>/dev/null || true
	rm -f '$(DESTDIR)$(mandir)'/man1/oci-seccomp.1 '$(DESTDIR)$(mandir)'/man1/oci-seccomp-*.1 \
		'$(DESTDIR)$(mandir)/man5/oci-seccomp-profile.5'
	rm -f '$(DESTDIR)$(bashdir)/oci-seccomp' '$(DESTDIR)$(zshdir)/_oci-seccomp' \
		'$(DESTDIR)$(fishdir)/oci-seccomp.fish'
	rm -f '$(DESTDIR)$(docdir)/licenses.txt' '$(DESTDIR)$(docdir)/oci-seccomp.cdx.json'
	rmdir '$(DESTDIR)$(docdir)' 2>/dev/null || true

deb: $(if $(filter $(RELEASE),$(BINARY)),build) man ## Pack the program for Debian, into the folder DEBS
	MAKE='$(MAKE)' packaging/deb '$(BINARY)' '$(DEBS)'

reproducible: ## Build program and package twice, elsewhere each time, and compare
	CARGO_HOME='$(CARGO_HOME)' MAKE='$(MAKE)' packaging/reproducible $(TARGET)

licenses: build/licenses.txt ## Write what is linked into the program, with the licences, to build/licenses.txt
	@sed -n '/^  /p; /^====/q' build/licenses.txt

sbom: build/oci-seccomp.cdx.json ## Write the same for programs, as CycloneDX: build/oci-seccomp.cdx.json

# Of the libraries and tools that are installed now: made anew each time, and
# whole at each moment.
build/licenses.txt: force
	@mkdir -p build
	@packaging/licenses $(TARGET) > $@.$$$$ && mv $@.$$$$ $@

build/oci-seccomp.cdx.json: force
	@mkdir -p build
	@packaging/sbom $(TARGET) > $@.$$$$ && mv $@.$$$$ $@

force:

# Not the advisories: their database is on GitHub (cargo deny check advisories).
deny: ## Check the licences and sources of what the program is made of
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked
	$(CARGO) deny check licenses bans sources

# The library alone; not static, since the tool also asks for dynamic libraries.
BASE ?= HEAD
semver: ## Say what breaks users of the library since a commit: BASE=HEAD
	command -v cargo-semver-checks >/dev/null || $(CARGO) install cargo-semver-checks --locked
	RUSTFLAGS='-C target-feature=-crt-static' $(CARGO) semver-checks --only-explicit-features --baseline-rev '$(BASE)'

clean: ## Remove what was built
	$(CARGO) clean
	rm -rf build
