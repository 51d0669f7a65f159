# Everything sets itself up: Python 3.11 or newer and make are all a machine needs.
#   make demo          the main job, told as it happens (SERVE=1 leaves it running)
#   make test          the whole suite, on SQLite and on a real PostgreSQL
#   make check         format, lint, types, import contracts, links in the docs
#   make bench         speed: a table and JSON (docs/benchmarks.md says how to read it)
#   make campaign      2,500 kills on each store, and a long comparison with OPA (some hours)
#   make lock          resolve the dependencies anew
#   make clean         remove what the targets above made

SHELL := /bin/sh
VENV  := .venv
BIN   := $(VENV)/bin
# The first interpreter that is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TESTS ?= tests
WORKERS ?= 2

# Every process of the demo and of the tests would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench campaign lock clean format

demo: $(VENV)/.runtime
	@$(BIN)/aegis demo $(if $(SERVE),--serve)

# In the order of the files: by default those with the fewest tests come last, which are the longest.
test: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

check: $(VENV)/.dev
	@$(BIN)/ruff format --check src tests bench examples
	@$(BIN)/ruff check src tests bench examples
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python tests/check_docs.py

format: $(VENV)/.dev
	@$(BIN)/ruff format src tests bench examples
	@$(BIN)/ruff check --fix-only src tests bench examples

bench: $(VENV)/.dev
	@$(BIN)/python -m bench

campaign: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -s -m campaign -o addopts= --strict-markers --import-mode=importlib tests/faults tests/resources tests/evidence tests/export tests/workflow/controller tests/policy/test_rego_differential.py
	@AEGIS_EXAMPLES=10 $(BIN)/python -m pytest -q -n $(WORKERS) tests/search/test_search_laws.py tests/store/test_history.py tests/verify/test_laws.py tests/erasure/test_killed.py

lock: $(VENV)/.dev
	@$(PIP) install uv
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --group dev --extra postgres pyproject.toml -o requirements/dev.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
		--no-emit-find-links --group build --extra postgres -c requirements/dev.txt pyproject.toml -o requirements/runtime.txt

clean:
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-data

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "aegis needs Python 3.11 or newer with venv: install it (on Debian: python3 and python3-venv), or run make PYTHON=/path/to/python3"; exit 1; }
	@echo "making a virtual environment in $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements/runtime.txt pyproject.toml
	@echo "installing the locked dependencies (once; about a minute)"
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt requirements/opa.txt
	@echo "installing the locked development tools (once; about a minute)"
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@$(PIP) install --ignore-requires-python --no-deps --require-hashes -r requirements/opa.txt >/dev/null 2>&1 \
		|| echo "no OPA library for this platform: the tests that compare with OPA will skip"
	@touch $@
