# `make demo` and `make test` need only Python 3.11 (or newer) with pip; all else is installed into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: venv
venv: .venv/.installed

.venv/.installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints .ci/constraints.txt --editable '.[dev]'
	@touch $@
