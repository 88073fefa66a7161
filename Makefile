# Every target sets up what it needs from a bare clone; the second time that takes no time.
# PYTHON=/path/to/python3.12 chooses the interpreter that .venv is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := arq,celery,dramatiq,huey,media,redis,rq
WORKERS ?= 2

export UV_LINK_MODE ?= copy
# The certificates that this machine trusts, as pip and curl use them.
export UV_SYSTEM_CERTS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
# Tests start hundreds of processes: each would compile anew what it imports.
test: export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint format bench docs lock clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r name told; do printf '  make %-8s %s\n' "$$name" "$$told"; done

setup: $(READY)  ## Make .venv with Faena and everything that building it needs

demo: $(READY)  ## Run Faena in a temporary folder: a real photograph, live bars, results
	@$(BIN)/faena demo

up: $(READY)  ## Start the server and a worker in one process, on nothing but files
	@$(BIN)/faena up

test: $(READY)  ## Run the tests (WORKERS=n processes, ARGS="-k name" for some of them)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=10 $(ARGS)

lint: $(READY)  ## Check style, types, import rules and generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_tree.py
	$(BIN)/python scripts/generate_docs.py --check

format: $(READY)  ## Put the code and the generated documents in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/generate_docs.py

bench: $(READY)  ## Measure this machine (ARGS="latency --quick" for some of it)
	$(BIN)/python -m bench $(ARGS)

docs: $(READY)  ## Build the documentation into site/, refusing broken links
	$(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is in site/index.html"

lock:  ## Write constraints.txt anew with today's versions
	PYTHON="$(PYTHON)" bash scripts/lock

clean:  ## Remove .venv and everything that was built
	rm -rf $(VENV) site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Faena needs Python 3.11 or later, and '$(PYTHON)' is not: run 'make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "The virtual environment could not be made. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[$(EXTRAS)]' --group dev
	@touch $(READY)
