# `make demo` and `make test` need only Python 3.11 or newer with pip; all else is installed into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

PYTEST := $(BIN)/python -m pytest
# The tests on a real Airflow run alone: it needs both cores.
PARALLEL := -n 2 --dist worksteal --ignore tests/system

.PHONY: help demo up test test-all bench lint types format docs constraints clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

demo: .venv/.installed  ## train and publish a model on a real Airflow, against the emulator
	@$(BIN)/python -m demo

up: .venv/.installed  ## like demo, and leave Airflow and the emulator running until Ctrl-C
	@$(BIN)/python -m demo --keep

test: lint types  ## lint, types and the tests, with one run on a real Airflow
	$(PYTEST) $(PARALLEL) -m "not slow"
	$(PYTEST) tests/system -m "not slow"

test-all: lint types  ## test, with the soak test and the crash matrix; QIANFAN_FUZZ=3 tries more random cases
	$(PYTEST) $(PARALLEL)
	$(PYTEST) tests/system

bench: .venv-bench/.installed  ## compare with peers, in about ten minutes; writes benchmarks/RESULTS.md
	AIRFLOW_HOME=$(CURDIR)/.airflow-bench .venv-bench/bin/python -m benchmarks

lint: .venv/.installed  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed  ## mypy --strict
	$(BIN)/mypy

format: .venv/.installed  ## let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.installed  ## write the table of Actions in the README anew
	$(BIN)/python docs/actions.py

constraints: .venv/.installed  ## write .ci/constraints.txt anew, with the newest versions
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --upgrade \
		--extra dev --output-file .ci/constraints.txt pyproject.toml

clean:  ## remove all that the other commands made
	rm -rf .venv .venv-bench .airflow-* dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	@# uv is many times faster; where it cannot reach the packages, as with a certificate of one's own, pip may.
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints .ci/constraints.txt --editable '.[dev]' \
		|| $(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[dev]'
	@touch $@

# The peers have many dependencies, which the tests should not see, and need other versions than the tests.
.venv-bench/.installed: pyproject.toml .venv/.installed
	$(PYTHON) -m venv --clear .venv-bench
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python --editable '.[benchmarks]'
	@touch $@
