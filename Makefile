# `make demo` installs and runs the main job, `make test` installs and runs the tests; both work on a fresh machine
# with Python 3.11 or newer. constraints.txt only keeps a fresh install repeatable; the package itself pins nothing.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test

demo: $(VENV)/installed
	$(BIN)/negsieve compare

test: $(VENV)/tested-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/tested-with: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@
