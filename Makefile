# The commands that a contributor needs. They need Go 1.26; setup installs the rest, or says how.
GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build test setup check race fuzz soak bench
build: ## the binary, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/herald ./cmd/herald

test: setup check race ## what must pass before a change is merged

setup:
	@scripts/setup.sh

check:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

race:
	$(GO) test -race -timeout 40m ./...

fuzz: ## every fuzz test for 10 s, or for FUZZTIME
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $${FUZZTIME:-10s} $$package; \
	  done; done

soak: ## the crash tests with KILLS kills each, 500 by default; as root also a real mail server
	if [ "$$(id -u)" -eq 0 ]; then command -v exim4 >/dev/null || apt-get install -y -q --no-install-recommends exim4-daemon-light; \
	  HERALD_MTA=1 $(GO) test -count=1 -run RealMTA -v ./internal/mail; fi
	HERALD_KILLS=$${KILLS:-500} $(GO) test -count=1 -timeout 4h -run Killed -v ./internal/test/crash

bench: ## end-to-end rates and latencies, see docs/performance.md
	$(GO) run ./internal/test/bench $(BENCH)
