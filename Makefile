# Every target sets up `.venv` by itself; all that is needed is python3 (3.11 or newer) and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
export OMP_NUM_THREADS ?= 1

PEERS := $(patsubst tests/benchmarks/sides/%.py,.peers/%/ready,$(filter-out %/riemann.py,$(wildcard tests/benchmarks/sides/*.py)))

.PHONY: demo test sweep check docs docs-test bench accuracy experiments format clean help

demo: $(READY)  ## the tour: curvature of spheres, black holes and networks beside exact values, and a picture
	$(BIN)/python examples/demo.py

# The modules whose signatures have shapes, checked while the suite runs.
SHAPED = $$(grep -rl --include=*.py jaxtyping riemann riemann_nn | sed 's/\.py$$//; s|/|.|g' | paste -sd, -)

test: $(READY)  ## the suite, without the sweeps; messages and compilers run apart from the shape checker
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not unshaped" --jaxtyping-packages=$(SHAPED),beartype.beartype
	$(BIN)/python -m pytest -q -n 2 -m "unshaped and not slow" tests

# PART=k/m: every m-th test of them, from the k-th on.
sweep: $(READY)  ## the sweeps: every operation of torch, every mutant of a formula, examples that take long (PART=k/m)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m slow $(if $(PART),--part $(PART)) tests

check: $(READY)  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(READY)  ## the site, in ./site, with the pictures of its gallery
	$(BIN)/python examples/gallery.py docs/img/gallery
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# CHROMIUM=path: nothing is installed for it, and without it the target fails.
CHROMIUM ?= $(firstword $(shell command -v chromium chromium-browser google-chrome))
docs-test: docs  ## every page of the site in a headless Chromium, from file://; CHROMIUM=path
	test -x "$(CHROMIUM)" || { echo "docs-test needs Chromium: install it, or say where it is, CHROMIUM=path"; exit 1; }
	$(BIN)/python docs/website/check.py site $(CHROMIUM)

# QUICK=1: under 3 minutes, to .benchmarks; BUSY=1: beside other processes, which the results say; ONLY=words: these cases.
BENCH := $(if $(QUICK)$(ONLY),.benchmarks,docs)
bench: $(READY) $(PEERS)  ## what curvature costs, beside the peers: docs/benchmarks.md (QUICK=1, BUSY=1, ONLY=words)
	mkdir -p $(BENCH)
	$(BIN)/python -m pytest -q tests/benchmarks -o addopts= -o filterwarnings=default --tb=short --benchmark-only \
		--benchmark-columns=median,iqr,rounds --benchmark-json=$(BENCH)/benchmarks.json \
		$(if $(QUICK),--quick) $(if $(BUSY),--busy) $(if $(ONLY),-k "$(ONLY)"); status=$$?; \
	if [ $$status -le 1 ]; then $(BIN)/python -m tests.benchmarks.report $(BENCH); fi; exit $$status

accuracy: $(READY)  ## how accurate curvature is over the catalogue: docs/accuracy.md
	$(BIN)/python -m tests.benchmarks.accuracy

# ONLY=names: these; what the others have found stays.
experiments: $(READY)  ## every experiment at its full setting, for hours: the tables of docs/experiments.md (ONLY=names)
	$(BIN)/python -m tests.experiments.run $(ONLY); status=$$?; $(BIN)/python -m tests.experiments.report; exit $$status

format: $(READY)  ## write the format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was made
	rm -rf .venv .peers .benchmarks site build .pytest_cache .ruff_cache .hypothesis

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), f'Python 3.11 or newer is needed, this is {sys.version}'"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[plot,examples,docs,dev]"
	touch $@

# A peer's environment: the lines `# pip install …` of its file, in their order.
.peers/%/ready: tests/benchmarks/sides/%.py
	test -x .peers/$*/bin/python || $(PYTHON) -m venv .peers/$*
	sed -n 's/^# pip install //p' $< | xargs -L 1 .peers/$*/bin/python -m pip install -q
	touch $@
