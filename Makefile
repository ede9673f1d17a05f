# `make demo` installs and runs the main job, `make test` installs and runs the tests; both work on a fresh machine
# with Python 3.11 or newer. constraints.txt only keeps a fresh install repeatable; the package itself pins nothing.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DATA ?= ../shared/data/gowalla

.PHONY: demo test sanitize

demo: $(VENV)/installed
	$(BIN)/negsieve compare

test: $(VENV)/tested-with
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# the kernels' tests on a build that stops at a read or write out of bounds and at undefined behaviour
sanitize: SANITIZED = .venv-sanitized
sanitize:
	test -x $(SANITIZED)/bin/python || $(PYTHON) -m venv $(SANITIZED)
	$(SANITIZED)/bin/python -m pip install --quiet -c constraints.txt '.[test]'
	$(SANITIZED)/bin/python -m pip install --quiet --no-deps --force-reinstall . \
		-C cmake.define.NEGSIEVE_SANITIZE=address,undefined
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so) \
		$$($(CXX) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 \
		$(SANITIZED)/bin/python -m pytest tests/kernels

# own speed against others', see docs/benchmarks.md; DATA is the folder of Gowalla
bench: $(VENV)/installed bench-peers
	$(BIN)/python benchmarks/bench.py --data $(DATA)

bench-peers: $(VENV)/installed
	$(BIN)/python benchmarks/peers/environments.py

$(VENV)/installed: pyproject.toml constraints.txt $(wildcard native/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/tested-with: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@
