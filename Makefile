# Everything a contributor needs; needs Go 1.26 and nothing else.
GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build test setup check race fuzz soak bench
build: ## the binary, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/herald ./cmd/herald

test: setup check race ## what has to pass before a change lands

setup:
	@scripts/setup.sh

check:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

race:
	$(GO) test -race -timeout 8m ./...

fuzz: ## every fuzz test for a while; FUZZTIME=1m for longer
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $${FUZZTIME:-10s} $$package; \
	  done; done

soak: ## the crash tests for long: KILLS kills of each kind, 500 by default; and a real mail server, as root
	if [ "$$(id -u)" -eq 0 ]; then command -v exim4 >/dev/null || apt-get install -y -q --no-install-recommends exim4-daemon-light; \
	  HERALD_MTA=1 $(GO) test -count=1 -run RealMTA -v ./internal/mail; fi
	HERALD_KILLS=$${KILLS:-500} $(GO) test -count=1 -timeout 4h -run Killed -v ./internal/test/crash

bench: ## end-to-end rates and latencies, see docs/performance.md
	$(GO) run ./internal/test/bench $(BENCH)
