# `make` prints what there is. Every target works by itself on a fresh clone and does nothing twice.

PYTHON ?= $(shell python3 deploy/interpreter.py 2>/dev/null || echo python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# More than there are cores: most tests wait for processes. Each worker takes a run of tests that share a system, and
# who has none left takes some of another's, so that none waits for the last long test of the others.
WORKERS ?= 4
# How long `make soak` takes.
SECONDS ?= 600
# Further words for pytest: make test ARGS="-k claim"
ARGS ?=
# The machine's certificates, not uv's own: an organisation may sign its package mirror itself.
export UV_SYSTEM_CERTS = true
# Without compiled files each of our processes would take seconds to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test up check static unit bench screenshots soak setup services lock format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## start everything in a temporary home, run bots in dev, staging and prod, show the history, stop
	@$(BIN)/python examples/demo.py

test: $(INSTALLED) services ## the whole suite, on SQLite + Valkey and on PostgreSQL + Redis
	@BOTKEEP_TEST_SERVICES=required $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

up: $(INSTALLED) ## start Botkeep and leave it running; stop it with .venv/bin/botkeep down
	@$(BIN)/botkeep up --detach

check: $(INSTALLED) ## linters, types, import contracts, unit tests, documents; under a minute
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target static unit

static: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate_settings.py --check

# Three workers: these hardly wait, and each takes seconds to import what all test.
unit: $(INSTALLED)
	$(BIN)/python -m pytest tests/unit -n 3 $(ARGS)

bench: $(INSTALLED) ## every benchmark, ours beside the baselines in one run
	@$(BIN)/python -m benchmarks

screenshots: $(INSTALLED) services ## a picture of every page into docs/screenshots, at a desk and on a phone
	@$(BIN)/python -m tests.screenshots docs/screenshots

soak: $(INSTALLED) services ## random faults for ten minutes, or SECONDS=60; nothing may be lost, doubled or orphaned
	@$(BIN)/python -m benchmarks.soak --seconds $(SECONDS) $(ARGS)

setup: $(INSTALLED) ## only the environment in .venv

services: $(INSTALLED) ## PostgreSQL and Redis for the tests, where the machine lacks them
	@$(BIN)/python -m tests.install

lock: $(INSTALLED) ## choose the newest allowed versions anew and write requirements.lock, and that of the images
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --group build --extra s3 --extra mysql --extra mssql --extra oracle \
	  --constraint requirements.lock --universal --generate-hashes --quiet --no-annotate \
	  --custom-compile-command "make lock" --output-file deploy/containers/requirements.lock

format: $(INSTALLED) ## lay out the code and mend what the linter can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment and everything that was generated
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv comes from the lock file, too: its version and its hashes are the ones that were reviewed.
$(VENV)/.uv: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Botkeep needs Python 3.11 or newer: name one with make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo 'Install the venv module first, on Debian: apt-get install python3-venv' >&2; exit 1; }
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r $(VENV)/uv.lock
	@touch $@

$(INSTALLED): $(VENV)/.uv pyproject.toml requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
