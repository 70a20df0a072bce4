# Every target sets up what it needs; `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready

.PHONY: help setup demo test test-all cluster-test check audit format docs clean
help:     ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12
setup: $(READY) ## make .venv with the locked versions
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(READY)
demo: $(READY) ## train teacher, student and baseline on the embedded task and compare them
	$(BIN)/distill-lab train study=demo
test: $(READY) ## run the tests
	$(BIN)/python -m pytest -n 2 -m "not slow"
test-all: $(READY) ## run the tests, the long ones too
	$(BIN)/python -m pytest -n 2
cluster-test: $(READY) ## run the sweeps on Ray, submitit, joblib, and Slurm where one answers
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-cluster.lock
	$(BIN)/python -m pytest tests/launch/test_clusters.py tests/launch/test_slurm.py
check: $(READY) ## lint, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
audit: $(READY) ## look up known faults of the locked versions (needs a network)
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit -r requirements.lock --no-deps --disable-pip
format: $(READY) ## put the formatting right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
docs: $(READY) ## build the pages in site/, without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
clean:    ## remove what was made, but not runs and store
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache
