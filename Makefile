# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
KILLS  ?= 1000

.PHONY: help setup demo serve test faults check lint types bench clean

help:            ## Show the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY)  ## Create .venv and install the tested versions into it

# torch and torchvision are named together: their builds must come from the same index.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; about 3 minutes and 6 GB, most of it torch) ..."
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is needed; name another with: make PYTHON=python3 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		torch torchvision --editable '.[test]'
	@touch $@

demo: $(READY)   ## Run the whole line on rendered landmarks: at most 4 minutes on 2 cores
	@$(BIN)/student-trainer demo --run runs/demo

serve: $(READY)  ## Serve a teacher with random weights on port 8000
	@$(BIN)/teacher-service serve --arch resnet101-gem --weights random

test: $(READY)   ## Run the tests, on up to 4 cores
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(READY)   ## Check style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)  ## Check types
	@$(BIN)/mypy

check: lint types test ## Check style and types, and run the tests

faults: $(READY) ## Try to break the ledger: 1,000 kills for each store and more, about half an hour
	@RATION_FAULT_KILLS=$(KILLS) $(BIN)/python -m pytest tests/faults

bench: $(READY)  ## Run the benchmarks, each beside its baseline
	@$(BIN)/python -m benchmarks

clean:           ## Remove the environment and what tools left behind; runs/ stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
