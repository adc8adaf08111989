# `make demo` and `make test` need only Python 3.11 or newer with pip; all else is installed into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# demo, up and test-short run on another version of Airflow with AIRFLOW=3.1 or 3.2, or any patch, such as 3.3.0;
# all others need the newest.
AIRFLOW ?=
VENV := .venv$(AIRFLOW:%=-%)
CONSTRAINTS := .ci/constraints$(AIRFLOW:%=-%).txt
BIN := $(VENV)/bin

# uv trusts what the machine trusts, a company's own certificates too.
export UV_SYSTEM_CERTS := true

# Older versions of pytest do not know this option, and ignore it.
PYTEST := $(BIN)/python -m pytest -o faulthandler_exit_on_timeout=true
# More than cores, since many tests wait.
PARALLEL := -n 3 --dist worksteal --ignore tests/browser -o faulthandler_timeout=1200
# Many tests on a real Airflow are run one by one, apart from the others.
UNITS := $(PARALLEL) --ignore tests/system
QUICK := not slow and not thorough
# A twentieth of the random cases, and in test-all a half: QIANFAN_FUZZ=1 tries all.
FEWER := QIANFAN_FUZZ=$(or $(QIANFAN_FUZZ),0.05)
HALF := QIANFAN_FUZZ=$(or $(QIANFAN_FUZZ),0.5)
# Older makes, such as that of macOS, mix up the output.
SIDE_BY_SIDE := $(if $(filter output-sync,$(.FEATURES)),--jobs=2 --output-sync)

.PHONY: help demo up test test-all test-all-airflow test-all-units test-short test-short-units test-short-airflow test-versions test-oldest test-browser distributed bench lint types format docs constraints clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /: /'

demo: $(VENV)/.installed  ## train and publish a model on a real Airflow, against the emulator
	@$(BIN)/python -m demo

up: $(VENV)/.installed  ## like demo, and leave Airflow and the emulator running until Ctrl-C
	@$(BIN)/python -m demo --keep

test: lint types  ## lint, types and the tests, with one run on a real Airflow
	$(FEWER) $(PYTEST) $(PARALLEL) -m "$(QUICK)"

# With --jobs=2, those on Airflow run beside all others.
test-all: lint types test-all-airflow test-all-units test-browser  ## all tests, in a browser too, and more random cases; QIANFAN_FUZZ=3 tries most

test-all-airflow: $(VENV)/.installed-browser
	$(PYTEST) tests/system

test-all-units: $(VENV)/.installed-browser
	$(HALF) $(PYTEST) $(UNITS)

test-short: test-short-units test-short-airflow  ## the tests on the chosen Airflow, with a few rows of the crash matrix

# Where both run side by side, these give way to those on Airflow.
test-short-units: $(VENV)/.installed
	$(FEWER) nice $(PYTEST) $(UNITS) -n 2 -m "$(QUICK)"

test-short-airflow: $(VENV)/.installed
	$(PYTEST) tests/system -m "short or $(QUICK)"

test-versions:  ## test-short on each supported version of Airflow
	$(MAKE) $(SIDE_BY_SIDE) test-short AIRFLOW=3.1
	$(MAKE) $(SIDE_BY_SIDE) test-short AIRFLOW=3.2
	$(MAKE) $(SIDE_BY_SIDE) test-short

test-oldest:  ## test-short and demo on the oldest Airflow
	$(MAKE) test-short AIRFLOW=3.1
	$(MAKE) demo AIRFLOW=3.1

test-browser: $(VENV)/.installed-browser  ## the views in Airflow's UI, in a real browser; SCREENSHOTS=docs/ui keeps pictures
	QIANFAN_SCREENSHOTS=$(SCREENSHOTS) $(PYTEST) tests/browser

distributed: $(VENV)/.installed  ## an Airflow with Celery whose parts fail one after the other, in 15 minutes; OPTIONS="--help"
	@$(BIN)/python -m distributed $(OPTIONS)

bench: .venv-bench/.installed  ## compare with peers, in half an hour; writes benchmarks/RESULTS.md
	AIRFLOW_HOME=$(CURDIR)/.airflow-bench .venv-bench/bin/python -m benchmarks

lint: $(VENV)/.installed  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed  ## mypy --strict
	$(BIN)/mypy

format: $(VENV)/.installed  ## let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed  ## write the table of Actions in the README anew
	$(BIN)/python docs/actions.py

COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --extra dev

constraints: .venv/.installed  ## write .ci/constraints*.txt anew
	$(COMPILE) --upgrade --output-file .ci/constraints.txt pyproject.toml
	@# The oldest Airflow, with the oldest version of everything that this project names.
	$(COMPILE) --upgrade --resolution lowest-direct \
		--output-file .ci/constraints-3.1.txt pyproject.toml .ci/pins-3.1.txt
	$(COMPILE) --upgrade --output-file .ci/constraints-3.2.txt pyproject.toml .ci/pins-3.2.txt

# A patch that no other target needs, with the newest of all else.
.ci/constraints-%.txt:
	$(MAKE) AIRFLOW= .venv/.installed
	echo 'apache-airflow==$*' | $(COMPILE) --output-file $@ pyproject.toml -

clean:  ## remove all that the other commands made
	rm -rf .venv .venv-* .airflow-* dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || true
	@# uv is many times faster; where it cannot reach the packages, as with an index that pip was told of, pip may.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraints $(CONSTRAINTS) --editable '.[dev]' \
		|| $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

$(VENV)/.installed-browser: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints $(CONSTRAINTS) --editable '.[browser]' \
		|| $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[browser]'
	@touch $@

# The peers have many dependencies, which the tests should not see, and need other versions than the tests.
.venv-bench/.installed: pyproject.toml .venv/.installed
	$(PYTHON) -m venv --clear .venv-bench
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-bench/bin/python --editable '.[benchmarks]'
	@touch $@
