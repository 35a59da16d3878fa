# `make tables` and `make test` do all set-up on a machine that has Python >= 3.11, make and a network.
#
#   make tables     every paper at laptop scale, ends with the path of the report
#   make test       the tests; SLOW=1 with those that take longest
#   make smoke      the smoke scale, compared with its committed reference; SMOKE=claims without figures and report
#   make paper      the papers' own budgets
#   make benchmark  speed measurements
#   make gpu-proof  what this machine's GPU makes of the library's work, without data (at most 10 minutes)
#   make lint       formatters, linter, types, spelling: fails on what they would change
#   make docs       the docs site, site/html/index.html; fails on a dead link or a name that is gone
#   make mutation   how many of N small bugs the tests catch (N=200 SEED=1; about an hour)
#   make clean      remove results that are not committed, and caches; keeps .venv

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# Images for containers often set it; without them kept, every process compiles all its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: tables test lint smoke paper benchmark gpu-proof docs mutation clean
.DELETE_ON_ERROR:

tables: $(READY)
	$(BIN)/snakemake --logger rescore
	@echo "report: results/laptop/report/index.html"  # also when there was nothing to do

SLOW ?=

test: $(READY)
	$(if $(SLOW),,RESCORE_FAST=1) $(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

smoke: $(READY)
	$(BIN)/snakemake --profile profiles/smoke $(SMOKE)
	$(BIN)/rescore gate --scale smoke

paper: $(READY)
	$(BIN)/snakemake --profile profiles/paper --logger rescore
	@echo "report: results/paper/report/index.html"

benchmark: $(READY)
	@mkdir -p .benchmarks
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[benchmark]'
	$(BIN)/python -m pytest tests/benchmarks -p no:xdist --benchmark-only --benchmark-json=.benchmarks/latest.json

gpu-proof: $(READY)
	$(BIN)/rescore proof

lint: $(VENV)/lint-ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell
	$(BIN)/mypy

docs: $(VENV)/docs-ready
	$(BIN)/python docs/build.py
	@echo "site: site/html/index.html"

# As $(READY), for what only the site or only the linters need: a second call asks no network.
$(VENV)/%-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

N ?= 200
SEED ?= 1

mutation: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutation]'
	$(BIN)/python tests/mutation/run.py --number $(N) --seed $(SEED)

clean:
	find results -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +
	rm -rf .snakemake .pytest_cache .benchmarks .mutation .cache site

# Done once, and again when a requirement changes. uv where it can be installed, else pip: the same versions, only slower.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "rescore needs Python >= 3.11, and $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	      "name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
	  && $(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[test,browser,molecules]' \
	  || $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test,browser,molecules]'
	@# A real motion data set ships in aeon; without aeon's own requirements, which are not needed to read it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt aeon \
	  || echo "aeon could not be installed: the motion part of diffcollage will be skipped"
	@touch $@
