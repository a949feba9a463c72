# Every target sets up what it needs by itself: a virtual environment in .venv, made once.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# Tests start hundreds of Python processes; without this, each would compile the package again.
export PYTHONDONTWRITEBYTECODE :=
INNER  := not (ray or postgres or process or slow or soak)

.PHONY: help demo check quick test lint rules types format docs bench soak fuzz clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV) || ($(PYTHON) -m pip install --quiet --target .build/virtualenv virtualenv \
		&& PYTHONPATH=.build/virtualenv $(PYTHON) -m virtualenv --quiet $(VENV))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)  ## tune a real pipeline on Ray, register the winner, load it again, resume
	$(BIN)/python examples/demo.py

check: rules  ## lint, and the quick tests without Ray, PostgreSQL and other processes
	@$(MAKE) --no-print-directory --jobs 2 types quick

quick: $(READY)
	$(BIN)/python -m pytest -n 2 -q -m '$(INNER)'

test: $(READY)  ## run every test
	$(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder

lint: rules types  ## format, rules, types, layers

rules: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy -p tuner
	$(BIN)/lint-imports

format: $(READY)  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## build the documentation as a site, into site/
	$(BIN)/zensical build --clean --strict

bench: $(READY)  ## measure against the peers
	$(BIN)/python -m benchmarks.throughput
	$(BIN)/python -m benchmarks.suggestion_time --quick
	$(BIN)/python -m benchmarks.quality --quick
	$(BIN)/python -m benchmarks.fronts --quick
	$(BIN)/python -m benchmarks.simulation --quick

soak: $(READY)  ## 10,000 simulated sweeps with faults, and 200 kills on a three-node Ray cluster
	$(BIN)/python -m pytest --hypothesis-profile=soak -m "soak or hypothesis"
	$(BIN)/python -m benchmarks.soak

fuzz: $(READY)  ## an hour of malformed queries, spaces and artifact paths
	$(BIN)/python -m benchmarks.fuzz --minutes 60

clean:  ## remove everything that was built
	rm -rf $(VENV) .build .cache build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
