# The commands of this repository. `make` alone lists them.
#
# Everything but `release` and `bench` is built with cargo's dev profile, so test, demo and CI share
# one build.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build test demo demo-regression screenshots storm torn full release bench lint clean

TOOLS := $(or $(ROLLBOOK_TOOLS_DIR),.tools)
# Exports the paths of nats-server and PostgreSQL that tools/install found.
WITH_TOOLS := set -a; . "$(TOOLS)/env"; set +a;

help: ## List these commands
	@awk -F ': .*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install nats-server, moto, OpenFeature's SDKs and PostgreSQL if missing (quick when repeated)
	@tools/install

build: ## Build every program and test dependency
	cargo build --workspace --locked

test: setup ## Run all tests; they start the servers they need
	@$(WITH_TOOLS) set -x; cargo test --workspace --locked --no-fail-fast

demo: setup build ## Run the deal-type-awareness rollout for real, staging then production
	@$(WITH_TOOLS) tools/demo

demo-regression: setup build ## The demo with a 7 % cost regression: caught, blocked, rolled back
	@$(WITH_TOOLS) tools/demo-regression

screenshots: setup build ## Draw what people see of both demos, terminals and report: DIR=.screenshots
	@$(WITH_TOOLS) tools/screenshots $(or $(DIR),.screenshots)

storm: setup build ## Inject faults while rollouts run, and judge the result: FAULTS=8 SEED=1 PAUSE=40 (seconds at most) LAYOUT=up|one|three RESUME=1
	@$(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/debug/rollbook-loadtest" storm --dir "$${CARGO_TARGET_DIR:-target}/storm" \
		--faults $(or $(FAULTS),8) --seed $(or $(SEED),1) --longest-pause $(or $(PAUSE),40) $(if $(LAYOUT),--layout $(LAYOUT)) $(if $(RESUME),--resume)

torn: setup build ## Tear the end off a ledger: `up` and `serve` must refuse it, name what is missing, and append nothing
	@$(WITH_TOOLS) "$${CARGO_TARGET_DIR:-target}/debug/rollbook-loadtest" torn --dir "$${CARGO_TARGET_DIR:-target}/storm/torn"

full: ## Everything that takes hours, before a release: torn ledgers, a long storm, both demos, all bars: FAULTS=60 SEED=1 RESUME=1
	$(MAKE) torn
	$(MAKE) storm FAULTS=$(or $(FAULTS),60) PAUSE=40
	$(MAKE) demo
	$(MAKE) demo-regression
	$(MAKE) bench

release: setup ## Build the programs for production, with profile-guided optimisation (long)
	@tools/release

bench: setup ## Run the performance bars: all, or one with BAR=name (the programs of `make release`; plain release build with QUICK=1)
	@tools/bench-peers
	@$(if $(QUICK),cargo build --release --locked -p rollbook -p rollbook-loadtest,tools/release)
	@$(WITH_TOOLS) set -x; "$${CARGO_TARGET_DIR:-target}/$(if $(QUICK),release,production)/rollbook-loadtest" \
		bench $(if $(BAR),--bar "$(BAR)") $(if $(QUICK),--quick)

lint: ## Check format and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

clean: ## Remove build output, pictures and the demo's files, keep the installed tools
	rm -rf .demo .screenshots
	cargo clean
