# Every target sets up `.venv` by itself; all that is needed is python3 (3.11 or newer) and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check docs bench format clean help

demo: $(READY)  ## the tour: curvature of spheres, black holes and networks beside exact values, and a picture
	$(BIN)/python examples/demo.py

# The modules whose signatures have shapes, checked while the suite runs.
SHAPED = $$(grep -rl --include=*.py jaxtyping riemann riemann_nn | sed 's/\.py$$//; s|/|.|g' | paste -sd, -)

test: $(READY)  ## the whole suite; messages and compilers run apart from the shape checker
	$(BIN)/python -m pytest -q -n 2 --ignore=tests/test_messages.py --ignore=tests/test_compile.py --jaxtyping-packages=$(SHAPED),beartype.beartype
	$(BIN)/python -m pytest -q tests/test_messages.py tests/test_compile.py

check: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(READY)  ## the site, in ./site
	$(BIN)/mkdocs build --strict --quiet

bench: $(READY)  ## what curvature costs, closed forms beside the generic route
	$(BIN)/python -m pytest -q tests/benchmarks -o addopts= --benchmark-only --benchmark-columns=min,median,iqr,rounds

format: $(READY)  ## write the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was made
	rm -rf .venv site build .pytest_cache .ruff_cache .hypothesis

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), f'Python 3.11 or newer is needed, this is {sys.version}'"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[plot,examples,dev]"
	touch $@
