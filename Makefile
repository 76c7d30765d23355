# The verbs of this project; `make` alone lists them. Needs GNU Make, a POSIX shell, git and Python 3.11 or newer.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PIN := --quiet --constraint constraints.txt --build-constraint constraints.txt
# Wait longer than pip's 15 s on slow lines; silence is kinder than a notice about pip's own version.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --timeout 120 --constraint constraints.txt
REPORTS := build/requirements

# Tests run on all cores. `make test ARGS="-k journal -x"` passes more to pytest.
WORKERS ?= auto
ARGS ?=
QUICK := not slow and not browser and not real and not bench

.PHONY: help setup run test check check-lint check-format check-types check-imports check-docs docs wire api-types fmt sim crash real browser mutation \
	bench bench-api bench-big coverage-map lock clean

help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- environments -----------------------------------------------------------------------------------------------------

setup: $(VENV)/.installed-dev ## Make .venv with Segue and everything to test and check it
	@:

run: $(VENV)/.installed-run ## Start the server on SQLite at 127.0.0.1:8080
	@exec $(BIN)/segue serve --dev $(ARGS)

$(BIN)/python:
	@PYTHON='$(PYTHON)' sh scripts/make-venv.sh $(VENV)

$(UV): | $(BIN)/python
	@$(BIN)/python $(PIP_INSTALL) uv

$(VENV)/.installed-run: pyproject.toml constraints.txt | $(UV)
	@$(UV) pip install --python $(BIN)/python $(PIN) --editable '.[server]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(UV)
	@$(UV) pip install --python $(BIN)/python $(PIN) --editable '.[server]' --group dev
	@touch $(VENV)/.installed-run $@
	@echo 'segue: ready in $(BIN)'

lock: $(VENV)/.installed-dev ## Choose versions anew: rewrite constraints.txt from pyproject.toml
	@$(UV) pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --upgrade --quiet \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links > build-constraints.tmp
	@{ sed -n '/^#/p' constraints.txt; cat build-constraints.tmp; } > constraints.tmp
	@mv constraints.tmp constraints.txt && rm build-constraints.tmp

# --- tests ------------------------------------------------------------------------------------------------------------

PYTEST ?= $(BIN)/python -m pytest
TESTS ?=
KILLS ?= 2000

test: setup ## Run the unit, contract and acceptance tests and the short simulations and kills; TESTS=tests/unit: only those
	@$(PYTEST) -n $(WORKERS) -m "$(QUICK)" --req-report=$(REPORTS)/$(notdir $(firstword $(TESTS) test)).json $(TESTS) $(ARGS)

sim: setup ## Run every simulation; SEED=42 runs that seed only
	@$(if $(SEED),SEGUE_SIM_SEED='$(SEED)') $(PYTEST) tests/simulation -n $(WORKERS) --req-report=$(REPORTS)/simulation.json $(ARGS)

crash: setup ## Pull the plug: every journal write of every example, KILLS=2000 random moments, disks, clocks
	@SEGUE_CRASH=all SEGUE_CRASH_KILLS='$(KILLS)' $(PYTEST) tests/crash -n $(WORKERS) --req-report=$(REPORTS)/crash.json $(ARGS)

browser: setup ## Drive the user interface in a real browser
	@sh scripts/install-chromium.sh
	@$(PYTEST) -m browser --req-report=$(REPORTS)/browser.json $(ARGS)

real: setup ## Test against real outside systems that run on this machine
	@$(PYTEST) -m real --req-report=$(REPORTS)/real.json $(ARGS)

coverage-map: setup ## Print requirement, clauses, tests and result, after running the tests of `make test`
	@$(PYTEST) -q -n $(WORKERS) -m "$(QUICK)" --req-report=$(REPORTS)/test.json $(ARGS) || echo "some tests failed: see the map"
	@$(BIN)/python scripts/coverage_map.py $(REPORTS)

bench-big: setup ## Measure what is big and long: 100,000 items, runs at rest, a long past (minutes)
	@$(BIN)/python -m bench.big $(ARGS)

bench-api: setup ## Measure the HTTP door: starts, lists among many runs, watchers (ARGS="--only starts", ARGS="--into bench/RESULTS.md")
	@$(BIN)/python -m bench.api $(ARGS)

bench: setup ## Measure Segue beside other engines and the bare disk (ARGS=--quick: one short round)
	@$(BIN)/python -m bench.peers.setup || echo 'segue: measuring without the engines that are left out'
	@$(BIN)/python -m bench.run $(ARGS)
	@$(BIN)/python -m bench.language $(if $(findstring --quick,$(ARGS)),--quick)
	@$(BIN)/python -m bench.flow_search $(if $(findstring --quick,$(ARGS)),--quick)

mutation: setup ## How many small planted mistakes the tests notice: PART=kernel or checker, SAMPLE=600
	@$(BIN)/python scripts/mutation.py $(or $(PART),kernel) --sample $(or $(SAMPLE),600)

# --- checks -----------------------------------------------------------------------------------------------------------

check: check-lint check-format check-types check-imports check-docs ## Lint, format, types, import rules and docs

check-lint: setup
	@$(BIN)/ruff check

check-format: setup
	@$(BIN)/ruff format --check

check-types: setup
	@$(BIN)/basedpyright

check-imports: setup
	@PYTHONPATH=. $(BIN)/lint-imports

check-docs: setup
	@$(BIN)/python scripts/check_docs.py
	@$(BIN)/python scripts/generate_docs.py --check
	@$(BIN)/python scripts/generate_wire.py --check

docs: setup ## Write the reference pages anew from the code's tables
	@$(BIN)/python scripts/generate_docs.py

wire: setup ## Write the messages of the gRPC contract anew from its .proto
	@$(BIN)/python scripts/generate_wire.py

api-types: setup ## Make TypeScript's types of the OpenAPI document, and compile a client on them (needs the npm registry)
	@$(BIN)/python scripts/api_types.py

fmt: setup ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

clean: ## Remove what builds and tests leave behind (.venv stays)
	@rm -rf build dist htmlcov mutants test-results .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	@find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
