# make build   the binary, bin/dtpnode
# make demo    from nothing to a drawn dimuon mass, with three nodes on this host
# make test    all that is tested every day, with ROOT and Python
# make test-all  the same, with long tests and with variations of what others test, which take too much for every day
# make soak    what goes on for hours: many seeds, many kills
# make mutants plant each bug of internal/mutant in the protocol and count the seeds that find it
# make bench   the scaling suite, beside its references
# make bench-python  the Python package's executor and dask's graphs beside others: PYTHON=INTERPRETER
# make bench-rdataframe  RDataFrames beside two threads and ROOT's backend for Dask: PYTHON=INTERPRETER
# make curves  simulate clusters of up to 10,000 nodes and draw how they fare into docs/
# make fuzz    all fuzz targets in turn, sharing FUZZ_TIME
# make old-root  compile the child against headers of old versions of ROOT: ROOT_SOURCE=CLONE ROOT_TAGS="v6-26-00 v6-30-00"
# make lint    linters, with the import rules of the layers and the length of lines
# make tidy-check  see that go.mod names what is used, directly or not
# make vuln    look for known vulnerabilities, in a database that is elsewhere
# make fmt     format Go and C++
# make install    what was built, with manual pages, completions and systemd units, below PREFIX and DESTDIR
# make uninstall  remove that again
# make wheel      the Python package with the binary inside, in dist
# make release    archives, .deb and .rpm of all platforms, with checksums, in dist
# make clean   remove what was built here (not the cache)

GO       ?= go
BIN      := bin/dtpnode
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)
STAMP    := -X github.com/dtpnode/dtpnode/internal/version.stamp=$(VERSION)
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
CXX_CODE := $(wildcard rootexec/child/*.cc rootexec/child/*.h)
# Real sample files, tested where they are present.
export DTPNODE_SAMPLES ?= $(wildcard $(CURDIR)/../shared/data)
# What is one goroutine, by the import rules of the layers, has no races: the race detector would make it six times as slow.
PLAIN    := ./sim ./engine ./journal ./ledger ./merge ./quorum ./steal ./tasks
LATE      = ./python ./rootexec/roottest
RACED     = $(filter-out ./e2e ./rootexec $(LATE) $(PLAIN),$(patsubst github.com/dtpnode/dtpnode/%,./%,$(shell $(GO) list ./...)))

.PHONY: build wheel demo old-root test test-all test-cores test-halves test-e2e test-chaos test-python test-rootexec test-rest soak mutants fuzz bench bench-python bench-rdataframe curves install uninstall release lint tidy-check vuln fmt clean

build:
	$(GO) build -trimpath -ldflags '$(STAMP)' -o $(BIN) ./cmd/dtpnode

demo: build
	$(BIN) demo

# In two halves, so that what waits for others runs beside what needs processors, and no test is starved by the others:
# many of them look at how nodes share work, which they do not where none of them has a processor. Being nice, the cores
# take only what all others leave, in both halves.
test:
	$(GO) vet ./...
	$(MAKE) -j4 -Oline test-cores test-halves
	$(MAKE) test-chaos

test-halves:
	$(MAKE) test-e2e
	$(MAKE) test-rootexec test-rest test-python

# ROOT's compiler goes through much memory, of which large pages make it up to twice as fast where memory is slow. What
# is measured has what its users have.
test-e2e test-chaos test-python test-rootexec test-rest: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

test-cores:
	nice $(GO) test -timeout 45m $(PLAIN)
	nice $(GO) test -tags mutants -run Mutants ./quorum ./engine ./ledger ./steal

# TestChaos has many daemons, which say nothing of dtpnode when they have no processor for seconds: they run when all
# else has ended.
test-e2e:
	$(GO) test -race -timeout 90m -parallel 7 -skip '^TestChaos$$' ./e2e

test-chaos:
	$(GO) test -race -timeout 45m -run '^TestChaos$$' ./e2e

# These tests run one after the other, and so take the longest: those beside them are nice, and nothing waits for these
# in the end.
test-rootexec:
	$(GO) test -race -timeout 90m -parallel 4 ./rootexec

test-rest:
	nice -n 5 $(GO) test -race -timeout 90m -parallel 4 -p 2 $(RACED)

test-python:
	nice -n 5 $(GO) test -race -timeout 90m -parallel 5 -p 2 $(LATE)

test-all: test-cores
	DTPNODE_LONG=1 $(MAKE) test-e2e
	DTPNODE_LONG=1 $(MAKE) test-rootexec test-rest
	DTPNODE_LONG=1 DTPNODE_PYTHON_LONG=1 DTPNODE_COFFEA=all $(MAKE) test-python
	DTPNODE_LONG=1 $(MAKE) test-chaos

# More of the simulator's seeds, from FIRST on, or as many as SIM_TIME allows (100,000 are a night), and the tests
# that kill things again and again, ROUNDS times or for the time CHAOS.
SEEDS  ?= 3000
FIRST  ?= 0
SIM_TIME ?=
ROUNDS ?= 10
CHAOS  ?= 10m
soak: test-all
	DTPNODE_SEEDS=$(SEEDS) DTPNODE_FIRST=$(FIRST) DTPNODE_SIM_TIME=$(SIM_TIME) $(GO) test -count=1 -timeout 24h -run "TestExactlyOnce|TestRetried|TestGrowing|TestLinked|TestLiars|TestUsurpers|TestRulers|TestRecovering" -v ./sim
	DTPNODE_LONG=24h $(GO) test -count=1 -timeout 24h -run TestLongJobs -v ./sim
	$(GO) test -count=$(ROUNDS) -timeout 24h -run 'Killed|RandomKills|Paused|SeparateHosts' ./e2e
	DTPNODE_LONG=1 DTPNODE_CHAOS_TIME=$(CHAOS) $(GO) test -count=1 -timeout 24h -run 'Chaos|FaultyNetwork' -v ./e2e
	DTPNODE_CHAOS_TIME=$(CHAOS) DTPNODE_CHAOS_NODES=20 DTPNODE_PYTHON_TESTS=tests/test_chaos.py \
		$(GO) test -count=1 -timeout 24h -run 'TestPython/pytest' -v ./python
	DTPNODE_CHAOS_TIME=$(CHAOS) DTPNODE_PYTHON_LONG=1 DTPNODE_PYTHON_TESTS=tests/test_together.py \
		$(GO) test -count=1 -timeout 24h -run 'TestPython/pytest' -v ./python
	DTPNODE_LIARS=20 DTPNODE_FIRST=$(FIRST) $(GO) test -count=1 -timeout 24h -run 'Lying' -v ./e2e
	JOURNAL_TEST_ALL=1 $(GO) test -count=1 -timeout 24h -run FlippedBit -v ./journal

mutants:
	$(GO) run ./sim/mutants

FUZZ_TIME ?= 60s
fuzz:
	GO=$(GO) .ci/fuzz $(FUZZ_TIME)

bench: build
	$(BIN) bench

# Needs a Python with the packages cloudpickle, msgpack, httpx, rich, loky, distributed, ray, pandas and pyarrow: PYTHON
# names it. GRAPHS is the size of dask's graphs: with 1 dask.distributed takes minutes for each, in each round.
GRAPHS ?= 0.05
bench-python: build
	PYTHONPATH=python/src $(PYTHON) bench/python/futures.py --binary $(BIN)
	PYTHONPATH=python/src $(PYTHON) bench/python/graphs.py --binary $(BIN) --scale $(GRAPHS)

# Needs a Python with ROOT, this package with its program, dask and distributed: PYTHON names it.
bench-rdataframe:
	$(PYTHON) bench/python/rdataframe.py

# Not part of make test: it needs a clone of ROOT's repository.
old-root:
	.ci/old-root "$(ROOT_SOURCE)" $(ROOT_TAGS)

# Runs that docs/scale.json has already are not made again: remove it to make all of them. NODES=100000 takes longer.
NODES ?= 10000
curves:
	$(GO) run ./sim/curves -max $(NODES)

# What is built is installed: `make build`, then as root `make install PREFIX=/usr/local`. The units look for the binary
# in PREFIX; DESTDIR is where a package is put together. INSTALL_BIN is for another platform than the one that makes it.
PREFIX      ?= /usr/local
DESTDIR     ?=
SYSCONFDIR  ?= /etc
INSTALL_BIN ?= $(BIN)
AT           = $(DESTDIR)$(PREFIX)
# What could not be installed whole is refused before anything is written: make and the units take no names with spaces, and
# a unit starts no program by a relative path.
ifneq ($(filter install uninstall,$(MAKECMDGOALS)),)
$(foreach name,PREFIX SYSCONFDIR DESTDIR,$(if $(filter-out 0 1,$(words $($(name)))),$(error $(name) is "$($(name))": a folder with spaces in its name cannot be installed to)))
$(foreach name,PREFIX SYSCONFDIR,$(if $(filter /%,$($(name))),,$(error $(name) is "$($(name))": want an absolute path, such as $(abspath $(or $($(name)),usr)))))
endif
install: | $(BIN)
	install -d $(AT)/bin $(AT)/share/man/man1 $(AT)/share/bash-completion/completions $(AT)/share/zsh/site-functions \
		$(AT)/share/fish/vendor_completions.d $(AT)/share/doc/dtpnode $(AT)/lib/systemd/system $(AT)/lib/systemd/user $(DESTDIR)$(SYSCONFDIR)
	install -m 755 $(INSTALL_BIN) $(AT)/bin/dtpnode
	rm -f $(AT)/share/man/man1/dtpnode.1.gz $(AT)/share/man/man1/dtpnode-*.1.gz
	$(BIN) man $(AT)/share/man/man1
	gzip -9nf $(AT)/share/man/man1/dtpnode.1 $(AT)/share/man/man1/dtpnode-*.1
	$(BIN) completion bash > $(AT)/share/bash-completion/completions/dtpnode
	$(BIN) completion zsh > $(AT)/share/zsh/site-functions/_dtpnode
	$(BIN) completion fish > $(AT)/share/fish/vendor_completions.d/dtpnode.fish
	sed 's,@BINDIR@,$(PREFIX)/bin,' packaging/systemd/dtpnode@.service.in > $(AT)/lib/systemd/system/dtpnode@.service
	sed 's,@BINDIR@,$(PREFIX)/bin,' packaging/systemd/dtpnode.service.in > $(AT)/lib/systemd/user/dtpnode.service
	install -m 644 README.md CHANGELOG.md docs/json.md docs/proof.md packaging/dtpnode.toml $(AT)/share/doc/dtpnode
	install -d $(AT)/share/doc/dtpnode/schema
	install -m 644 docs/schema/*.json $(AT)/share/doc/dtpnode/schema
	install -m 644 LICENSE $(AT)/share/doc/dtpnode/copyright
	[ -e $(DESTDIR)$(SYSCONFDIR)/dtpnode.toml ] || install -m 644 packaging/dtpnode.toml $(DESTDIR)$(SYSCONFDIR)/dtpnode.toml

# The settings stay if they were changed.
uninstall:
	rm -f $(AT)/bin/dtpnode $(AT)/share/man/man1/dtpnode.1.gz $(AT)/share/man/man1/dtpnode-*.1.gz \
		$(AT)/share/bash-completion/completions/dtpnode $(AT)/share/zsh/site-functions/_dtpnode \
		$(AT)/share/fish/vendor_completions.d/dtpnode.fish \
		$(AT)/lib/systemd/system/dtpnode@.service $(AT)/lib/systemd/user/dtpnode.service
	rm -rf $(AT)/share/doc/dtpnode
	if cmp -s packaging/dtpnode.toml $(DESTDIR)$(SYSCONFDIR)/dtpnode.toml; then rm $(DESTDIR)$(SYSCONFDIR)/dtpnode.toml; \
	elif [ -e $(DESTDIR)$(SYSCONFDIR)/dtpnode.toml ]; then echo "kept $(DESTDIR)$(SYSCONFDIR)/dtpnode.toml, which was changed"; fi

$(BIN):
	$(MAKE) build

DIST ?= dist
release:
	GO=$(GO) packaging/release.sh $(DIST) $(VERSION)

# pip fetches what builds wheels. PYTHON is any from 3.10 on.
PYTHON ?= python3
wheel:
	DTPNODE_VERSION=$(VERSION) GO=$(GO) $(PYTHON) -m pip --disable-pip-version-check wheel -q --no-deps -w $(DIST) ./python
	@ls $(DIST)/dtpnode-*.whl

lint:
	$(GO) run $(LINT) run ./...

# Tidying looks at the tests of all modules that are used, which are no part of a build: where these can neither be had nor
# are in the cache, nothing is checked.
tidy-check:
	@if ! diff=$$($(GO) mod tidy -diff 2>&1); then \
		case "$$diff" in \
		*"diff current/"*) echo "$$diff"; exit 1 ;; \
		*) echo "go.mod is not checked: $$diff" | head -3 ;; \
		esac; \
	fi

vuln:
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...

fmt:
	$(GO) run $(LINT) fmt ./...
ifneq ($(CXX_CODE),)
	clang-format -i $(CXX_CODE)
endif

clean:
	rm -rf bin dist
	$(GO) clean -testcache
