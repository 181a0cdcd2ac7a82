# `make help` lists the targets. The work is in scripts/, to be read and run by itself.

GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help demo test build lint fuzz bench cross api e2e setup clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## build sea and send a file through a stream, without any broker
	@scripts/demo

test: ## every test, real brokers included; installs what is missing on Debian
	@scripts/test

build: ## bin/sea
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

lint: ## golangci-lint with .golangci.yml
	go run $(GOLANGCI_LINT) run ./...
	cd e2e && go run $(GOLANGCI_LINT) run --config ../.golangci.yml ./...
	cd bench && go run $(GOLANGCI_LINT) run --config ../.golangci.yml ./...
	cd examples && go run $(GOLANGCI_LINT) run --config ../.golangci.yml ./...

fuzz: ## each fuzz target for FUZZTIME (10s)
	@scripts/fuzz

bench: ## measure beside franz-go, kcat and cp, with ARGS='-only kafka -pairs 3'
	cd bench && go run . $(ARGS)

cross: ## compile for linux, darwin and windows on amd64 and arm64
	@scripts/cross

api: ## write the exported API to api/v1.txt
	go run ./internal/api > api/v1.txt.new && mv api/v1.txt.new api/v1.txt

e2e: setup ## only the tests on real brokers
	cd e2e && go test -race -p 1 -timeout 25m ./...

setup: ## install what the tests need
	@scripts/setup

clean: ## remove bin/ (Go's caches and Kafka's jars stay)
	rm -rf bin
