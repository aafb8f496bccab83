# Two commands do everything on a machine with Python 3.11 to 3.13 and make: `make demo` and `make test`.
# PYTHON chooses the interpreter of the set-up, GPU=1 adds the CUDA libraries (Linux, x86-64), ARGS adds arguments to the
# command of a target.

PYTHON ?= python3
ARGS ?=
UV_VERSION := 0.13.9

VENV := .venv
PY := $(VENV)/bin/python
BASE := $(VENV)/.ready
CUDA := $(VENV)/.ready-gpu
# A .venv that once got the CUDA libraries keeps them up to date until `make clean`; GPU=0 leaves them as they are.
GPU ?= $(if $(wildcard $(CUDA)),1)
READY := $(if $(filter-out 0,$(GPU)),$(CUDA),$(BASE))
HAS_UV := $(VENV)/.uv-$(UV_VERSION)
# Compiled once here, or each of the many processes that import TensorFlow would pay for it.
UV := UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never $(VENV)/bin/uv
COMPILE := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet

DEMO := runs/demo
NOTEBOOK ?= 06_view_browser
WEIGHTS := bac_utils/weights/backbone.weights.h5
CODE := bac_utils tests notebooks benchmarks

.DEFAULT_GOAL := help
.PHONY: help setup demo methods test test-browser lab app figures lint format lock weights clean

help: ## Show this list
	@echo "Usage: make TARGET [PYTHON=python3.12] [GPU=1] [ARGS='more arguments']"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY) ## Make .venv with the locked packages and this package (GPU=1: and the CUDA libraries)

demo: $(READY) ## Run the whole study on simulated mammograms into runs/demo (a finished run is repeated)
	$(PY) -m bac_utils run --preset demo --output $(DEMO) $(if $(wildcard $(DEMO)/summary.json),--overwrite) $(ARGS)

methods: $(READY) $(DEMO)/summary.json ## Train and compare the other methods on the demo's cohort into runs/demo/methods.csv (resumes)
	$(PY) -m bac_utils.study.compared $(DEMO) $(ARGS)

test: $(READY) ## Run the tests in two processes (ARGS="-n 0": in one)
	$(PY) -m pytest -q -n 2 --dist loadfile --durations=10 $(ARGS)

test-browser: $(READY) ## Drive the widgets in JupyterLab and Voila with a headless Chromium (installs nothing)
	$(PY) tests/browser/needs.py
	$(PY) -m pytest -q tests/browser $(ARGS)

lab: $(READY) ## Open the notebooks in JupyterLab
	$(PY) -m bac_utils.widgets.serve lab $(ARGS)

# Of the reader study: NOTEBOOK=09_reader_study COHORT=table READINGS=folder READER=name.
app: $(READY) ## Open the view browser as an app (NOTEBOOK=05_threshold_tuning: the tuner; RUN=folder: the run)
	$(if $(RUN),BAC_UTILS_RUN="$(abspath $(RUN))") $(if $(COHORT),BAC_UTILS_COHORT="$(abspath $(COHORT))") \
	$(if $(READINGS),BAC_UTILS_READINGS="$(abspath $(READINGS))") $(if $(READER),BAC_UTILS_READER="$(READER)") $(PY) -m bac_utils.widgets.serve app notebooks/$(NOTEBOOK).ipynb $(ARGS)

# All but the one with real films in it: nothing fetched goes into the repository.
figures: $(DEMO)/summary.json ## Copy the demo's figures to figures/ (runs the demo if it has not finished)
	@mkdir -p figures
	cp $(filter-out %/simulator_views.png,$(wildcard $(DEMO)/figures/*.png)) figures/

lint: $(READY) ## Check style, imports between modules, notebooks without outputs, and the environment files
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(VENV)/bin/lint-imports --no-cache
	$(PY) -m pytest -q tests/test_environment.py

format: $(READY) ## Repair style and strip the notebooks' outputs
	$(PY) -m ruff check --fix-only $(CODE)
	$(PY) -m ruff format $(CODE)
	$(PY) -m nbstripout --keep-id notebooks/*.ipynb

# The second lock has only what the extra `gpu` adds to the first one.
lock: $(HAS_UV) ## Bring both locks in line with pyproject.toml (ARGS=--upgrade for newer versions)
	$(COMPILE) --extra test --extra app --extra browser --output-file requirements.lock $(ARGS)
	$(COMPILE) --extra gpu --constraint requirements.lock --output-file requirements-gpu.lock $(ARGS) \
		$$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock)

weights: $(READY) ## Make the bundled weights again
	$(PY) -m bac_utils pretrain --output $(WEIGHTS) $(ARGS)

clean: ## Remove .venv and all caches; runs/ stays
	rm -rf $(VENV) bac_utils.egg-info .pytest_cache .ruff_cache
	find $(CODE) \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

$(DEMO)/summary.json:
	@$(MAKE) --no-print-directory demo

$(HAS_UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
		echo "Python 3.11 to 3.13 is needed; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# No stamp of uv while packages are installed: after an interruption the next call starts from an empty .venv.
# uv is the faster one; pip also knows this machine's settings for pip (mirrors, certificates).
define install
	@rm -f $(HAS_UV)
	$(UV) pip install --python $(PY) --require-hashes -r $(1) || { \
		echo "uv did not manage, so pip does it, which takes minutes" >&2; \
		$(PY) -m pip install --disable-pip-version-check --require-hashes -r $(1); }
endef

$(BASE): pyproject.toml requirements.lock $(HAS_UV)
	$(call install,requirements.lock)
	$(UV) pip install --python $(PY) --no-deps --no-build-isolation -e .
	@touch $(HAS_UV) && touch $@

$(CUDA): requirements-gpu.lock $(BASE)
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { \
		echo "GPU: the CUDA libraries exist for Linux x86_64 only; this is: $$(uname -sm)" >&2; exit 1; }
	$(call install,requirements-gpu.lock)
	@touch $(HAS_UV) && touch $(BASE) && touch $@
