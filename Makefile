# make demo: napari on a sample with the widget docked.   make test: everything CI checks.
# Both set up what they need on a fresh Debian with Python 3.11; a second call is quick.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV ?= .venv
# What pip is asked for first, e.g. TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch
# Disk space that the environment takes; with CUDA, as plain torch on Linux, nearly all of it is PyTorch's.
GB ?= 8
DATA ?= ../shared/data
FOLDERS ?= er mito nuclei
# Of make gpu-check: the folder of its table, and how long it may take.
OUT ?= runs/gpu
SECONDS ?= 480

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -q
PYTEST := $(BIN)/python -m pytest
XVFB := xvfb-run -a -s "-screen 0 1440x900x24"
# Two threads of torch on two cores already slow down a test run; the viewers draw in software.
CHECK_ENV := OMP_NUM_THREADS=1 LIBGL_ALWAYS_SOFTWARE=1
HERE := lint docs types unit
BESIDE := plugin-pyqt5 plugin-pyqt6
STEPS := $(HERE) $(BESIDE)

.PHONY: help demo test $(STEPS) pictures samples manifest wheel-check quality smoothness gpu-check clean
help:
	@sed -n 's/^# make/make/p; s/^\([a-z0-9-]*\):.*## /\1: /p' Makefile

# ---- set-up: one stamp per set of packages, inside the environment it speaks of --------------------

$(BIN)/python:
	@scripts/system_libraries.sh "$(PYTHON)"
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=...")'
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.has-torch: | $(BIN)/python
	@free=$$(df -Pk $(VENV) | awk 'NR == 2 {print int($$4 / 2^20)}'); (($$free >= $(GB))) || { \
	  echo "An environment with $(TORCH) takes $(GB) GB, and $$free GB are free in $(CURDIR): make room," \
	    "or name a smaller build and its size, as in make TORCH=\"torch --index-url .../whl/cpu\" GB=3" >&2; exit 1; }
	@echo "Installing PyTorch ($(TORCH)), the largest part: a few minutes the first time"
	$(PIP) $(TORCH)
	@touch $@

$(VENV)/.has-demo: pyproject.toml $(VENV)/.has-torch
	$(PIP) -e ".[pyqt5]"
	@touch $@

$(VENV)/.has-test: pyproject.toml $(VENV)/.has-torch
	$(PIP) -e ".[pyqt5,pyqt6,test]"
	@touch $@ $(VENV)/.has-demo $(VENV)/.has-docs

$(VENV)/.has-docs: pyproject.toml $(VENV)/.has-torch
	$(PIP) -e ".[docs]"
	@touch $@

# ---- what people call ---------------------------------------------------------------------------------

demo: $(VENV)/.has-demo ## open napari on the ER sample; without a display, run it and write demo/
	@scripts/system_libraries.sh "$(BIN)/python"
	@if [[ -n "$${DISPLAY:-}$${WAYLAND_DISPLAY:-}" || "$$(uname)" != Linux ]]; then \
	  QT_API=pyqt5 $(BIN)/python scripts/demo.py; \
	else \
	  echo "No display: the same under Xvfb, with a short run, written to demo/"; \
	  LIBGL_ALWAYS_SOFTWARE=1 QT_API=pyqt5 $(XVFB) $(BIN)/python scripts/demo.py --record demo; \
	fi

test: $(VENV)/.has-test ## every check, each to its end; the exit code says whether all passed
	@NEEDS_XVFB=1 scripts/system_libraries.sh "$(BIN)/python"
	@run() { failed=(); for step in "$$@"; do $(MAKE) --no-print-directory $$step || failed+=($$step); done; \
	  echo "$${failed[*]}" >$(VENV)/failed.$$1; }; \
	run $(BESIDE) >$(VENV)/beside.log 2>&1 & run $(HERE); wait; cat $(VENV)/beside.log; \
	failed=($$(cat $(VENV)/failed.$(firstword $(HERE)) $(VENV)/failed.$(firstword $(BESIDE)))); \
	if (($${#failed[@]})); then echo "make test: FAILED in $${failed[*]}"; exit 1; fi; \
	echo "make test: all of $(STEPS) passed"

lint: $(VENV)/.has-test ## ruff, and spelling
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/typos

docs: $(VENV)/.has-docs ## the documentation into site/; a page, picture or anchor that is not there is an error
	@echo "== docs"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q

types: $(VENV)/.has-test ## mypy
	@echo "== types"
	$(BIN)/mypy

unit: $(VENV)/.has-test ## tests that need no screen
	@echo "== unit tests"
	$(CHECK_ENV) $(PYTEST) tests --ignore=tests/plugin

plugin-pyqt5 plugin-pyqt6: plugin-%: $(VENV)/.has-test ## plugin tests in real viewers on one Qt binding
	@NEEDS_XVFB=1 scripts/system_libraries.sh "$(BIN)/python"
	@echo "== plugin tests on $*"
	@# A test that hangs inside Qt can only be ended from another thread.
	$(CHECK_ENV) QT_API=$* PYTEST_QT_API=$* $(XVFB) $(PYTEST) -o timeout_method=thread tests/plugin

pictures: $(VENV)/.has-test ## draw docs/images/ anew from the running plugin
	@NEEDS_XVFB=1 scripts/system_libraries.sh "$(BIN)/python"
	$(CHECK_ENV) QT_API=pyqt6 xvfb-run -a -s "-screen 0 1440x1000x24" $(BIN)/python scripts/screenshot.py docs/images

samples: $(VENV)/.has-demo ## make sample_data/ anew
	$(BIN)/python scripts/make_samples.py

manifest: ## copy the package's manifest to the top
	cp src/napari_metastructure/napari.yaml napari.yaml

wheel-check: $(VENV)/.has-test ## build the wheel and try it in a clean environment
	scripts/check_wheel.sh $(VENV)

quality: $(VENV)/.has-test ## Dice of iGTT on folders of real images with masks (DATA=, FOLDERS=)
	$(BIN)/python benchmarks/igtt_quality.py $(DATA) $(FOLDERS)

smoothness: $(VENV)/.has-test ## how smooth the window stays in a run: with the widget and without, in one run
	@NEEDS_XVFB=1 scripts/system_libraries.sh "$(BIN)/python"
	$(CHECK_ENV) QT_API=pyqt6 $(XVFB) $(BIN)/python benchmarks/smoothness.py

gpu-check: $(VENV)/.has-test ## what the engine does on a GPU, and how fast; without one a short try on the CPU (OUT=, SECONDS=)
	$(BIN)/python scripts/gpu_check.py --out "$(OUT)" --seconds $(SECONDS)

clean: ## remove what the above made, the environment too
	rm -rf $(VENV) build dist demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
