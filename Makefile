# make setup          .venv with everything that tests and programs need
# make demo           one picture to splats: writes out/demo
# make test           format, lint, types, imports, tests
# make test-blender   what needs Blender itself (installs its Python module the first time)
# make test-nerfstudio  nerfstudio's own parser on our records (installs it the first time)
# make check-claims   the measured tables (hours; goes on where it stopped)
# make format         put the code into shape

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-complete
BLENDER_PYTHON ?= $(shell command -v python3.11 || command -v python3)
BLENDER_VERSION := 4.5.15
SOURCES := distill_core renderers gs_integration blender_addon scripts benchmarks tests
DEMO_PICTURE ?= examples/demo.png

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Numba and the tests use threads of their own choice; pyright need not ask for a newer pyright.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

NERFSTUDIO_VERSION := 1.1.5
NERFSTUDIO_VENV := .venv-nerfstudio
NERFSTUDIO_STAMP := $(NERFSTUDIO_VENV)/.setup-complete-$(NERFSTUDIO_VERSION)

BLENDER_VENV := .venv-blender
BLENDER_STAMP := $(BLENDER_VENV)/.setup-complete-$(BLENDER_VERSION)

.PHONY: setup setup-blender setup-nerfstudio demo test test-blender test-nerfstudio check check-claims format
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
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev,viewer,pretrained,cluster]'
	@$(BIN)/pyright --version
	@touch $@

# An environment of its own: bpy pins numpy below 2, and wants exactly the Python that it was built for.
setup-blender: $(BLENDER_STAMP)

$(BLENDER_STAMP): scripts/system_libraries.py
	@$(BLENDER_PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Blender's module needs Python 3.11, got $$($(BLENDER_PYTHON) --version); name one: make setup-blender BLENDER_PYTHON=python3.11" >&2; exit 2; }
	@$(BLENDER_PYTHON) scripts/system_libraries.py
	@test -x $(BLENDER_VENV)/bin/python || $(BLENDER_PYTHON) -m venv $(BLENDER_VENV)
	@echo "Installing Blender $(BLENDER_VERSION) into $(BLENDER_VENV) (800 MB, minutes the first time)"
	@$(BLENDER_VENV)/bin/python -m pip install -qq "bpy==$(BLENDER_VERSION)" "numpy<2"
	@$(BLENDER_VENV)/bin/python -c 'import bpy'
	@rm -f $(BLENDER_VENV)/.setup-complete-*
	@touch $@

# Its pins clash with ours and with each other's newest versions, so only what its data parser imports is installed.
setup-nerfstudio: $(NERFSTUDIO_STAMP)

$(NERFSTUDIO_STAMP): constraints.txt
	@test -x $(NERFSTUDIO_VENV)/bin/python || $(PYTHON) -m venv $(NERFSTUDIO_VENV)
	@echo "Installing nerfstudio's data parser into $(NERFSTUDIO_VENV) (minutes the first time)"
	@$(NERFSTUDIO_VENV)/bin/python -m pip install -qq --constraint constraints.txt torch numpy pillow \
		opencv-python-headless jaxtyping rich viser imageio requests appdirs packaging matplotlib tensorboard
	@$(NERFSTUDIO_VENV)/bin/python -m pip install -qq --no-deps "nerfstudio==$(NERFSTUDIO_VERSION)"
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

test-blender: $(STAMP) $(BLENDER_STAMP)
	$(BIN)/python -m pytest tests/blender -m blender --timeout 600

test-nerfstudio: $(STAMP) $(NERFSTUDIO_STAMP)
	$(BIN)/python -m pytest tests/nerfstudio -m nerfstudio

check-claims: $(STAMP)
	$(BIN)/python scripts/check_claims.py

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
