# Two commands matter: `make up` brings the example city up, `make test` sets everything up and tests it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CITY ?= examples/xingcheng
STAMP := $(VENV)/.installed
# Workers of the test run. Tests of one file, and most of those on real nodes, are one worker's: tests/support/groups.py.
# Two leave a tenth of two cores idle: tests on real nodes wait.
JOBS ?= 3
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

# The tests start hundreds of programs; without stored byte code each would compile the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

# Pages are looked at in it, with a font that has Chinese. A machine that cannot have it skips those tests, and says so.
BROWSER := chromium-headless-shell

.PHONY: help browser install up down test lint unit local e2e whole bench kills schema docs clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("wecityctl needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { \
	  echo "installing python3-venv, which Debian keeps apart"; \
	  rm -rf $(VENV); apt-get update -q && apt-get install -y -q python3-venv && $(PYTHON) -m venv $(VENV); }
	@# The vendors' SDKs are thousands of modules: each is compiled when something imports it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP) ## Only install wecityctl, into .venv; nothing is started
	@echo "installed: $(BIN)/wecityctl"

up: $(STAMP) ## Bring the example city up on this machine, and everything it needs (CITY=path for another)
	$(BIN)/wecityctl engine install
	$(BIN)/wecityctl up $(CITY) --yes

down: $(STAMP) ## Take the example city and its embedded cloud down again; volumes stay
	$(BIN)/wecityctl destroy $(CITY) --confirm="$$($(BIN)/wecityctl validate $(CITY) -o json | \
	  $(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["city"])')" --stop-clouds

browser: # As root on Debian, install a browser without windows
	@command -v $(BROWSER) chromium > /dev/null || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && \
	  echo "installing $(BROWSER)" && apt-get update -q > /dev/null && \
	  apt-get install -y -q --no-install-recommends $(BROWSER) fonts-droid-fallback > /dev/null; } || \
	  echo "there is no browser here: tests of pages in one are skipped"

test: $(STAMP) lint browser ## Set everything up and run every test, three at a time (JOBS=1 for one)
	$(BIN)/wecityctl engine install
	$(PYTEST)

unit: $(STAMP) ## Only tests that start no engine, cluster or build and end soon: under a minute
	$(PYTEST) -m 'not slow and not program and not engine and not build and not cluster and not node'

local: $(STAMP) ## Only tests that run the program, its engine or builds or compute for long, without a cluster
	$(BIN)/wecityctl engine install
	$(PYTEST) -m '(slow or program or engine or build) and not cluster and not node'

e2e: $(STAMP) ## Only the tests on the embedded cloud
	$(BIN)/wecityctl engine install
	$(PYTEST) -m 'cluster or node'

whole: $(STAMP) ## Bring up the city of 60,000 CPUs, of which `make test` takes a sixth: about six minutes
	$(BIN)/wecityctl engine install
	WHOLE_CITY=1 $(BIN)/python -m pytest tests/e2e/test_sixty_thousand.py

lint: $(STAMP) ## Format, lint, types, layers and words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.vocabulary

bench: $(STAMP) ## Measure speed and memory against a kubectl script; prints a table
	$(BIN)/wecityctl engine install
	$(BIN)/python -m benchmarks

kills: $(STAMP) ## Kill 200 runs at random moments and look whether anything is lost; about an hour
	$(BIN)/wecityctl engine install
	$(BIN)/python -m tests.e2e.kills --count 200

schema: $(STAMP) ## Write the generated references again (schema, file reference, command line)
	$(BIN)/python -m tests.generate

clean: ## Remove the virtual environment and caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
