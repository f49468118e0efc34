# make setup          .venv with everything that tests and programs need
# make demo           one picture to splats: writes out/demo
# make test           format, lint, types, imports, tests
# make check-claims   the measured tables (hours; goes on where it stopped)
# make format         put the code into shape

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
SOURCES := distill_core renderers gs_integration scripts benchmarks tests
DEMO_PICTURE ?= examples/demo.png

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Numba and the tests use threads of their own choice; pyright need not ask for a newer pyright.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: setup demo test check check-claims format
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Expected Python 3.11 or newer, got $$($(PYTHON) --version); name one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) scripts/system_libraries.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		{ test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); } || \
		{ echo "Python's venv module is missing; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 2; }; }
	@echo "Installing into $(VENV) (minutes the first time)"
	@# Torch first and alone: the version decides its build, and nothing may pull in another.
	@$(BIN)/python -m pip install -qq --constraint constraints.txt torch
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev,viewer,pretrained]'
	@$(BIN)/pyright --version
	@touch $@

demo: $(STAMP)
	$(BIN)/python scripts/image_to_3dgs.py $(DEMO_PICTURE) --output-dir out/demo

check: $(STAMP)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest

check-claims: $(STAMP)
	$(BIN)/python scripts/check_claims.py

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
