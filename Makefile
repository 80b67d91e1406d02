PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo dev serve check check-types check-rest test test-all test-failed acceptance bench lock licences sbom app label install-alerts install-app install-auto-labels install-lab install-lake install-ml install-noise install-ocr install-pods

help: ## shows this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
LOCKED := $(PIP) install --require-hashes --no-deps
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --durations 30
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

# Every package by the hashes of its files, then the project itself without asking for anything more.
.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("BizCharts needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(LOCKED) -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-%: requirements-%.lock .venv/.installed
	$(LOCKED) -r $<
	@touch $@

# PyTorch's wheels for CPU and CUDA differ, so that no hash fits both: its version is pinned, its files are not.
.venv/.installed-ml: requirements-ml.lock .venv/.installed
	$(LOCKED) -r $<
	$(PIP) install $(TORCH)
	@touch $@

.venv/.installed-test: requirements-test.lock .venv/.installed-alerts .venv/.installed-app .venv/.installed-auto-labels .venv/.installed-lab .venv/.installed-lake .venv/.installed-ml .venv/.installed-noise .venv/.installed-ocr .venv/.installed-pods
	$(LOCKED) -r $<
	@touch $@

install-alerts install-app install-auto-labels install-lab install-lake install-ml install-noise install-ocr install-pods: install-%: .venv/.installed-% ## installs an optional part

demo: .venv/.installed-auto-labels ## runs the whole pipeline on a simulated board, in about three minutes
	$(BIN)/bizcharts demo

# Not `dagster dev`: any web page could drive its web server.
dev: .venv/.installed ## as serve, with a long log, for development
	@exec $(BIN)/bizcharts serve --dev

serve: .venv/.installed ## runs the service on the live board; Dagster UI on 127.0.0.1:3000
	@exec $(BIN)/bizcharts serve

# Many processes with several threads each would spend their time waiting for one another.
test test-all test-failed acceptance: export OMP_NUM_THREADS ?= 1

check: .venv/.installed-test ## runs ruff, mypy and lint-imports, two at a time
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-types check-rest

check-types:
	$(BIN)/mypy

check-rest:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	cd bizcharts_pipeline/training/onpod && ../../../$(BIN)/mypy --config-file ../../../pyproject.toml --cache-dir ../../../.mypy_cache/onpod --exclude nothing --explicit-package-bases .

test: check ## runs the checks and the quick tests
	$(PYTEST) -m 'not slow and not acceptance'

test-all: check ## runs the checks and every test but the long runs
	$(PYTEST) -m 'not acceptance'

test-failed: ## repeats the tests that failed in the last run, if there were at most three
	@test -f .pytest_cache/v/cache/lastfailed || { echo 'No test has failed yet.'; exit 1; }
	@$(BIN)/python -c 'import json, sys; failed = json.load(open(".pytest_cache/v/cache/lastfailed")); sys.exit(f"{len(failed)} tests failed: too many to repeat" if len(failed) > 3 else 0)'
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none

acceptance: .venv/.installed-test ## runs the long tests
	$(BIN)/python -m pytest -m acceptance --timeout 3600

bench: .venv/.installed-test ## runs the benchmarks (or ROOMS="tick text"); fails if a ratio is worse than usual
	$(BIN)/python -m benchmarks --compare $(ROOMS)

lock: ## resolves the dependencies again and pins versions and hashes
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[test]' uv==0.13.9
	build/lock/bin/python -m tools.lock build/lock/bin/uv

licences: .venv/.installed-test ## writes build/licences.md: every package with its licence
	mkdir -p build && $(BIN)/python -m tools.sbom licences > build/licences.md

sbom: .venv/.installed-test ## writes build/sbom.cdx.json: the bill of materials, CycloneDX
	mkdir -p build && $(BIN)/python -m tools.sbom sbom > build/sbom.cdx.json

label: .venv/.installed ## opens the labeller on 127.0.0.1:8502; prints its address
	$(BIN)/bizcharts label

app: .venv/.installed-app ## opens the app on 127.0.0.1:8501
	@exec $(BIN)/bizcharts app
