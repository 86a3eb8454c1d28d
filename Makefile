# Needs Go, make and git. What else a target uses, it installs into .cache/, which git ignores.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

# Flags for go test: make test TESTFLAGS='-run TestRelay -v' PKG=./events/...
TESTFLAGS ?=
PKG       ?= ./...
# For tenantry dev: make run ARGS='--region ap-south=127.0.0.1:8083'
ARGS      ?=

# Far above what it takes, so that a time-out means that something hangs, on a slow machine too.
TEST_TIMEOUT  ?= 20m
RACE_TIMEOUT  ?= 30m
BENCH_TIMEOUT ?= 60m
FAULTS_TIMEOUT ?= 4h

# Pinned: another version has other opinions. Built from source, so that it is one with our Go.
GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := .cache/bin/golangci-lint-$(GOLANGCI_LINT_VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build, and run everything on this machine; the first start imports the example roster
	bin/tenantry dev --import examples/roster.ndjson $(ARGS)

.PHONY: build
build: ## bin/tenantry
	go build -trimpath -ldflags '-X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/tenantry ./cmd/tenantry

# compose.yaml says what there is then, and where.
COMPOSE := VERSION='$(VERSION)' COMMIT='$(COMMIT)' docker compose

.PHONY: up
up: docker ## with Docker: PostgreSQL, Kafka, two catalogues and two regions of two nodes, at 127.0.0.1:8080 to 8084
	$(COMPOSE) up --build --wait

.PHONY: down
down: docker ## stop them, and keep their data (docker compose down --volumes removes it)
	$(COMPOSE) down

.PHONY: docker
docker:
	@command -v docker >/dev/null || { echo "this needs Docker, which is not installed: 'make run' needs none" >&2; exit 1; }
	@docker compose version >/dev/null 2>&1 || { echo "this needs Docker Compose: 'docker compose' is not there; 'make run' needs none" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || { echo "this needs a running Docker: 'docker info' says what is wrong; 'make run' needs none" >&2; exit 1; }

# PostgreSQL and Apache Kafka, started once for a run of all tests. What is missing is fetched into .cache/, or installed as
# root on Debian; a test that cannot have its server is skipped and says so.
TESTSERVERS := .cache/bin/testservers

.PHONY: $(TESTSERVERS)
$(TESTSERVERS):
	@go build -o $@ ./internal/testservers/run

.PHONY: dev-services
dev-services: $(TESTSERVERS) ## start PostgreSQL and Kafka, print the flags that use them, stop them at Ctrl-C
	@$(TESTSERVERS)

.PHONY: test
test: $(TESTSERVERS) ## all tests; with REQUIRE_SERVICES=1 one that lacks a server fails instead of being skipped
	$(TESTSERVERS) -- bash .ci/go-test $(PKG) -- -timeout $(TEST_TIMEOUT) $(TESTFLAGS)

.PHONY: test-race
test-race: $(TESTSERVERS) ## the same under the race detector (needs a C compiler), without the longest
	$(TESTSERVERS) -- bash .ci/go-test $(PKG) -- -race -short -timeout $(RACE_TIMEOUT) $(TESTFLAGS)

# A version that Debian has not installed is fetched by Maven.
POSTGRES_VERSIONS ?= 14 15 16 17 18

.PHONY: test-postgres
test-postgres: $(TESTSERVERS) ## the event store and its crashes on each PostgreSQL from 14 to 18 (ten minutes)
	@for version in $(POSTGRES_VERSIONS); do \
		echo "PostgreSQL $$version"; \
		TENANTRY_TEST_POSTGRES_VERSION=$$version REQUIRE_SERVICES=1 $(TESTSERVERS) -- sh -c \
			'go test -count=1 -timeout $(TEST_TIMEOUT) ./events/postgres && go test -count=1 -timeout $(TEST_TIMEOUT) -run TestKills ./tests/faults' || exit 1; \
	done

# So many processes are killed, one after the other; what came of it is printed as a table.
KILLS ?= 1000

.PHONY: faults
faults: $(TESTSERVERS) ## tests/faults in its long form: KILLS=1000 kills, and networks and disks that fail (half an hour)
	TENANTRY_KILLS=$(KILLS) $(TESTSERVERS) -- go test -count=1 -v -timeout $(FAULTS_TIMEOUT) $(TESTFLAGS) ./tests/faults

# bench/system.sh measures the program as a process, with wrk beside nginx.
.PHONY: bench
bench: build ## all benchmarks, and the system's beside nginx (some minutes; close the browser)
	go test -run '^$$' -bench . -benchmem -timeout $(BENCH_TIMEOUT) $(PKG)
	@if [ -e bench/system.sh ]; then bash bench/system.sh; fi

.PHONY: bench-short
bench-short: ## every Go benchmark once: do they still run
	go test -run '^$$' -bench . -benchtime 1x -short -timeout $(TEST_TIMEOUT) $(PKG)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## gofmt, go vet, golangci-lint (built at the first time, which takes minutes)
	@unformatted=$$(gofmt -s -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -s -w on:"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(GOLANGCI_LINT) run --allow-serial-runners ./...

$(GOLANGCI_LINT):
	@echo "building golangci-lint $(GOLANGCI_LINT_VERSION) into .cache/bin: this takes minutes, once"
	GOBIN='$(CURDIR)/.cache/bin' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv .cache/bin/golangci-lint $@

.PHONY: generate
generate: ## write all generated files anew
	go generate ./...

.PHONY: verify
verify: ## are generated files, go.mod and the modules what they should be
	bash .ci/verify-generated
	go mod tidy -diff
	go mod verify

.PHONY: clean
clean: ## remove bin/ and .cache/, but no data
	rm -rf bin .cache
