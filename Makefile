# Targets for people who change cairn. Users need none of them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

PKG ?= ./...
FUZZTIME ?= 30s
HISTORIES ?= 1000000
SCRIPTS ?= 100000
FROM ?= 1000000
COUNT ?= 10

.PHONY: test race model fuzz scripts crash big lint api ci bench results help

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

test: ## all tests
	go test $(PKG)

race: ## all tests under the race detector
	go test -race -timeout 40m $(PKG)

model: ## HISTORIES random histories of the log protocol
	go test ./internal/protocol/model -run TestModel -count=1 -v -timeout 0 -histories $(HISTORIES)

fuzz: ## every fuzz target for FUZZTIME
	@for pkg in $$(go list $(PKG)); do \
		names=$$(go test -list '^Fuzz' $$pkg); \
		for name in $$names; do case $$name in Fuzz*) \
			echo "== $$pkg $$name"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg;; \
		esac; done; \
	done

scripts: ## SCRIPTS random scripts against the twin, from number FROM on
	go test ./fuzz -run TestScripts -count=1 -v -timeout 0 -scripts $(SCRIPTS) -from $(FROM)

crash: ## crash tests, afresh
	go test -run Crash -count=1 -timeout 30m $(PKG)

big: ## long and large runs: minutes to hours, tens of GB
	go test ./engine -count=1 -v -timeout 0 -long

lint: ## gofmt, vet, staticcheck
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted:"; echo "$$files"; exit 1; fi
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...

api: ## record the public API as it is now (tools/api/baseline)
	go -C tools run ./api -write

ci: ## what .ci/run does
	.ci/run

bench: ## benchmarks beside the code, COUNT times; compare with benchstat
	go test -run '^$$' -bench . -benchmem -count $(COUNT) $(PKG)

results: ## bench/RESULTS.md afresh: whole workloads beside the machine's limits
	go run ./bench/results
