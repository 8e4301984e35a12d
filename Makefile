# A thin front: meson builds, tools/ holds the steps.  `make help` lists the targets.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
MESON ?= meson

.PHONY: all help deps need check demo bench install deb fuzz clean

all: need $(BUILD)/build.ninja
	@ninja -C $(BUILD)

help:
	@echo 'make            build the programs into $(BUILD)/bin'
	@echo 'make deps       install the Debian packages that building and testing need (root)'
	@echo 'make check      every test; the last line counts them (root for all of them)'
	@echo 'make demo       two hosts, one public address, IPsec to one peer (root); KEEP=1 leaves it running'
	@echo 'make bench      benchmarks; each prints a ratio against a peer of the same run'
	@echo 'make fuzz       every fuzz target for FUZZ_SECONDS (default 60) each'
	@echo 'make install    into $$DESTDIR$$PREFIX (default /usr/local)'
	@echo 'make deb        Debian packages into $(BUILD)/deb'
	@echo 'make clean      remove the build folders'

deps:
	@tools/deps install

# Installs what is missing when run as root, else names it and ends with status 2.
need:
	@tools/deps need

$(BUILD)/build.ninja: | need
	@$(MESON) setup $(BUILD) --prefix=$(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@rm -f $(BUILD).log

check: need
	@tools/check

demo: all
	@demo/run $(if $(KEEP),--keep)

bench: all
	@tools/bench

fuzz: need
	@tools/fuzz

install: all
	@$(MESON) configure $(BUILD) --prefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) $(MESON) install -C $(BUILD)

deb: need
	@tools/deb $(abspath $(BUILD))/deb

clean:
	@rm -rf $(BUILD) build-asan build-fuzz
