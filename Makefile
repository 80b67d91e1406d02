PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_HOME ?= $(CURDIR)/dagster_home

.DEFAULT_GOAL := help
.PHONY: help demo dev serve test acceptance bench lock app label

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit("BizCharts needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	@touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[test]'
	@touch $@

demo: .venv/.installed ## the whole pipeline on a simulated board, in about four minutes
	$(BIN)/bizcharts demo

# Not started at the repository root: Dagster would read .env there itself, and let it win over the environment.
dev: .venv/.installed ## Dagster UI on 127.0.0.1:3000 with the schedules, on the live board
	@test -e "$${BIZCHARTS_DATABASE:-$${BIZCHARTS_HOME:-data}/bizcharts.duckdb}" || echo 'There is no history yet, and the index has to rank a day among 60 earlier ones. Import them first, in another terminal, in about 35 minutes: $(BIN)/bizcharts import --last 60'
	cd dagster_home && ../$(BIN)/dagster dev -w ../workspace.yaml -h 127.0.0.1 -p 3000

serve: .venv/.installed ## the unattended service: daemon, code server and UI, supervised
	@exec $(BIN)/bizcharts serve

# Many processes with several threads each would spend their time waiting for one another.
test acceptance: export OMP_NUM_THREADS ?= 1

test: .venv/.installed-test ## every check and every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd bizcharts_pipeline/training/onpod && ../../../$(BIN)/mypy --config-file ../../../pyproject.toml --cache-dir ../../../.mypy_cache/onpod --exclude nothing --explicit-package-bases .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -m 'not acceptance' -n auto --maxprocesses 4 --dist loadfile

acceptance: .venv/.installed-test ## the long runs
	$(BIN)/python -m pytest -m acceptance --timeout 3600

bench: .venv/.installed-test ## benchmarks, each beside a peer or a floor
	$(BIN)/python -m benchmarks

lock: ## pin the versions that a fresh resolution gives
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[test]'
	build/lock/bin/python -m pip freeze --exclude bizcharts --disable-pip-version-check | grep -v ' @ ' | sed 's/+cpu$$//' > requirements.lock

label: .venv/.installed ## the labeller on 127.0.0.1:8502; prints its address
	$(BIN)/bizcharts label

app:
	@echo 'make $@ is not part of this version yet; the README says what is.' >&2; exit 2
