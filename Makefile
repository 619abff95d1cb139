# What a developer and CI run. Each target first makes .venv, once, from requirements.lock.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Two processes, each with servers of its own.
TEST_ARGS ?= -n 2 --dist loadfile
# -rP prints the figures and seeds of what passed.
LONG_ARGS ?= -n 2 --dist worksteal -rP
PYTEST_ARGS ?=
BENCH_ARGS ?=
AUDIT_ARGS ?=
BIN := .venv/bin
SOURCES := src tests docs bench
UNSAFE := (^|[^._[:alnum:]])(eval|exec|__import__)\(|(import|from) +(pickle|shelve|marshal|dill|cloudpickle|joblib)

.PHONY: demo test test-long lint bench docs lock clean

demo: .venv/.ready
	$(BIN)/holdfast demo

test: .venv/.ready
	$(BIN)/python -m pytest $(TEST_ARGS) $(PYTEST_ARGS)

test-long: .venv/.ready
	$(BIN)/python -m pytest -m long $(LONG_ARGS) $(PYTEST_ARGS)

lint: .venv/.ready
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if grep -rnE '$(UNSAFE)' src --include='*.py'; then echo 'no pickle, eval or exec in src'; exit 1; fi
	$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml src
	$(BIN)/python tests/audit.py $(AUDIT_ARGS)

# It makes .venv-bench for itself, with what it compares to, and writes docs/benchmarks.md and its picture.
bench:
	@$(call check_python)
	$(PYTHON) bench/run.py $(BENCH_ARGS)

docs: .venv/.ready
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/cli.py
	$(BIN)/python -m pytest -q tests/faces/test_docs.py $(PYTEST_ARGS)

# The lock names versions and hashes, and no place they come from: pip's own configuration says that.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --quiet -o requirements.lock

clean:
	rm -rf .venv .venv-bench build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/.ready: pyproject.toml requirements.lock
	@$(call check_python)
	@echo 'Installing into .venv, once; this takes a minute or two.'
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -r requirements.lock
	@$(BIN)/pip install -qq --disable-pip-version-check --no-deps --editable .
	@touch $@

define check_python
if [ -z "$(PYTHON)" ]; then echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3'; exit 1; fi; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo '$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv'; exit 1; }
endef
