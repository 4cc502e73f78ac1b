# The two commands of the README are `make demo` and `make test`; both make `.venv` first.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements.lock
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
# uv must trust the machine's certificate store and must never download an interpreter.
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

.PHONY: setup lock
setup: $(VENV)/.ready

$(VENV)/.ready: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "TokenLedger needs Python 3.10 or newer; call make PYTHON=/path/to/python3")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv) or call make PYTHON=/path/to/python3"; exit 1; }
	@echo "==> making $(VENV) from $(LOCK)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCK)
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

lock: ## Resolve again; no difference means no drift.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --extra all --group dev pyproject.toml -o requirements.lock
