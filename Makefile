# What people and CI run alike. It needs Python 3.10 or newer with venv, make, and a Python package index; nothing else.
# Every environment is a folder below .venvs, built from exact pins and built again when those or pyproject.toml change.
#
#   PYTHON=python3.12    the Python to build the environments with (default: python3)
#   INSTALLER=pip        install with pip instead of uv; without it, pip is what is tried when uv fails

PYTHON ?= python3
INSTALLER ?= uv
UV_VERSION := 0.13.9

LINES := 3.3 2.11 3.0 3.1 3.2
UNIT_LINES := 3.3 2.11 3.0
SLOW := tests/e2e tests/conformance tests/conformance_heavy tests/dags tests/ha tests/stores
# Unit tests that take twice as long when they are traced, of code that others run as well
UNTRACED := $(patsubst %,tests/test_%.py,endings faults properties trigger_runner)
# Unit tests that know nothing of Airflow and are many: one version of it is enough
ONCE := tests/services/test_contract.py tests/testing/test_contract.py
COVERAGE_AT_LEAST := 95

python_version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VERSION := $(call python_version,$(PYTHON))
ifeq ($(filter-out 2.% 3.0 3.1 3.2 3.3 3.4 3.5 3.6 3.7 3.8 3.9,$(VERSION)),)
$(error $(PYTHON) is no Python 3.10 or newer that runs: install one, or name one: make PYTHON=/path/to/python3.12)
endif
# Airflow 2.11 and 3.0 exist for Python 3.10 to 3.12 only: with a newer default, use one of these if it is there
UP_TO_3.12 := 3.10 3.11 3.12
OLD_PYTHON := $(firstword $(foreach python,$(PYTHON) python3.12 python3.11 python3.10,\
	$(if $(filter $(UP_TO_3.12),$(call python_version,$(python))),$(python))))
OLD_VERSION := $(call python_version,$(OLD_PYTHON))

# A stamp carries the Python version, so that another PYTHON builds another environment
STAMP_2.11 := .venvs/2.11/installed-$(OLD_VERSION)
STAMP_3.0 := .venvs/3.0/installed-$(OLD_VERSION)
STAMP_3.1 := .venvs/3.1/installed-$(VERSION)
STAMP_3.2 := .venvs/3.2/installed-$(VERSION)
STAMP_3.3 := .venvs/3.3/installed-$(VERSION)
STAMP_sdks := .venvs/sdks/installed-$(VERSION)
STAMP_sdks-heavy := .venvs/sdks-heavy/installed-$(VERSION)
STAMP_files := .venvs/files/installed-$(VERSION)
STAMP_bench := .venvs/bench/installed-$(VERSION)
STAMP_ha := .venvs/ha/installed-$(VERSION)
STAMP_live := .venvs/live/installed-$(VERSION)
UV := .venvs/uv/bin/uv
UV_STAMP := .venvs/uv/installed-$(UV_VERSION)
INSTALLER_STAMP := $(if $(filter uv,$(INSTALLER)),$(UV_STAMP))

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
# Kept byte code spares every test run's processes two seconds each of compiling the tests
unexport PYTHONDONTWRITEBYTECODE
.PHONY: test test-all unit unit-3.3-untraced lint sdks sdks-heavy files dags e2e demo constraints clean help $(LINES:%=unit-%) $(LINES:%=env-%) env-sdks env-sdks-heavy env-files bench bench-airflow bench-files faults stalls simulation env-bench test-ha env-ha shapes live env-live

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9.%-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

test:  ## everything: linters, unit tests on Airflow 3.3, 2.11 and 3.0, the vendors' SDKs, an object store, a real Airflow
	$(MAKE) --keep-going --jobs 4 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		lint $(UNIT_LINES:%=unit-%) unit-3.3-untraced dags sdks files
	$(MAKE) e2e

test-all: test  ## test, the unit tests on Airflow 3.1 and 3.2 as well, and the SDKs that bring much with them
	$(MAKE) $(filter-out $(UNIT_LINES:%=unit-%),$(LINES:%=unit-%)) sdks-heavy

test-ha: $(STAMP_ha)  ## 200 waits on PostgreSQL, Redis and Celery, while processes are killed; needs postgresql and redis-server
	.venvs/ha/bin/python -m pytest --quiet --capture=no tests/ha

shapes: $(UNIT_LINES:%=.venvs/postgres-%/installed)  ## every odd shape of data through the XComs of 3.3, 2.11 and 3.0 on PostgreSQL
	@for line in $(UNIT_LINES); do echo "== Airflow $$line on PostgreSQL"; \
		PYTHONPATH=$(CURDIR)/.venvs/postgres-$$line .venvs/$$line/bin/python -m pytest --quiet tests/ha/test_shapes.py || exit; \
	done

unit: $(STAMP_3.3)  ## the unit tests on Airflow 3.3, quickly: T=tests/test_sensors.py for some of them
	.venvs/3.3/bin/python -m pytest --quiet --numprocesses 2 $(or $(T),tests $(SLOW:%=--ignore=%))

unit-3.3: $(STAMP_3.3)
	@echo "== unit tests on Airflow 3.3, Python $(VERSION), with coverage"
	.venvs/3.3/bin/python -m coverage run --branch -m pytest --quiet tests $(patsubst %,--ignore=%,$(SLOW) $(UNTRACED))
	.venvs/3.3/bin/python -m coverage report --fail-under=$(COVERAGE_AT_LEAST)

unit-3.3-untraced: $(STAMP_3.3)
	.venvs/3.3/bin/python -m pytest --quiet $(UNTRACED)

unit-2.11 unit-3.0 unit-3.1 unit-3.2: unit-%: env-%
	@echo "== unit tests on Airflow $*"
	.venvs/$*/bin/python -m pytest --quiet tests $(patsubst %,--ignore=%,$(SLOW) $(ONCE))

lint: $(STAMP_3.3)  ## ruff and mypy
	.venvs/3.3/bin/ruff check .
	.venvs/3.3/bin/ruff format --check .
	.venvs/3.3/bin/mypy

sdks: $(STAMP_sdks)  ## the stand-in vendors, driven by the vendors' own SDKs
	.venvs/sdks/bin/python -m pytest --quiet --confcutdir=tests/conformance tests/conformance

sdks-heavy: $(STAMP_sdks-heavy)  ## the same with the SDKs of Datalab and docling, which bring pandas and numpy
	.venvs/sdks-heavy/bin/python -m pytest --quiet -W ignore::DeprecationWarning --confcutdir=tests/conformance_heavy tests/conformance_heavy

files: $(STAMP_files)  ## output files on an object store (moto's, in place of S3), cut wherever they can be
	.venvs/files/bin/python -m pytest --quiet --numprocesses 2 tests/stores

dags: $(STAMP_3.3)  ## every example through dag.test()
	.venvs/3.3/bin/python -m pytest --quiet tests/dags

e2e: $(STAMP_3.3)  ## a real Airflow 3.3: forty waits, two slots, triggerers killed
	.venvs/3.3/bin/python -m pytest --quiet tests/e2e

demo: $(STAMP_3.3)  ## three services on a real Airflow, in a minute; KEEP=1 leaves its UI up
	@KEEP=$(KEEP) .venvs/3.3/bin/python -m tests.e2e.demo

live: $(STAMP_3.3) $(STAMP_live)  ## a real docling-serve and a real Airflow: extracted text, and every way it goes wrong; 7 GB to install
	@.venvs/3.3/bin/python -m tests.live.run

constraints: $(UV_STAMP)  ## pin the environments anew, as of the date in each constraints/*.in
	@$(use_pips_index); for file in $$(grep -l '^# as of ' constraints/*.in); do echo $$file; \
		$(UV) pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --upgrade \
			--exclude-newer "$$(sed -n 's/^# as of //p' $$file)" $$file --output-file $${file%.in}.txt || exit; \
	done

bench: $(STAMP_bench)  ## us beside a bare loop and the triggers of dbt Cloud and Databricks; RUNS=3 for medians
	@.venvs/bench/bin/python -m tests.bench.bench --runs $(or $(RUNS),1)

faults: $(STAMP_bench)  ## 10,000 waits while three answers in ten are faults, beside the same on a good day: a quarter of an hour
	@.venvs/bench/bin/python -m tests.bench.faults

stalls: $(STAMP_bench)  ## how long one reply of up to 16 MiB, or of 10,000 documents, holds the triggerer's loop: ten minutes
	@.venvs/bench/bin/python -m tests.bench.stalls

bench-files: $(STAMP_files)  ## memory and speed of output files beside curl, on a disk and on an object store: half an hour
	@.venvs/files/bin/python -m tests.bench.files

bench-airflow: $(STAMP_bench)  ## what waiting costs on a real Airflow 3.3, in half an hour; ONLY=waits,gates for some of it
	@.venvs/bench/bin/python -m tests.bench.real $(if $(ONLY),--only $(ONLY))

simulation: $(STAMP_bench)  ## days of waits on one key, counted call by call; draws tests/bench/simulation.svg
	@.venvs/bench/bin/python -m tests.bench.simulation

clean:  ## remove the environments and what tests leave behind
	rm -rf .venvs .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- environments

# uv reads UV_* variables but not pip's configuration: hand it the index pip uses, if that is not the public one
use_pips_index = export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$(.venvs/uv/bin/python -m pip config list \
	| sed -n "s/^[^=]*\.index-url='\(.*\)'$$/\1/p" | head -n 1)}"

# Byte code compiled now need not be compiled by each of Airflow's processes, where one is started
$(STAMP_3.3) $(STAMP_bench) $(STAMP_ha): compiled := --compile-bytecode
# $(1) the environment's folder, $(2) its pins
with_uv = { $(use_pips_index); \
	$(UV) pip install --quiet $(compiled) --python $(1) --requirement $(2) && \
	$(UV) pip install --quiet --python $(1) --no-deps --editable .; }
with_pip = { \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(2) && \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; }
ifeq ($(INSTALLER),uv)
install = $(with_uv) || { echo "uv could not install that; trying pip, which takes longer" >&2; $(with_pip); }
else
install = $(with_pip)
endif

# $(1) the environment's folder, $(2) its pins, $(3) its Python
define build
	@echo "== building $(1) from $(2)"
	@rm -rf $(1)
	@$(3) -m venv $(1)
	@$(install)
	@touch $@
endef

env-2.11: $(STAMP_2.11)
env-3.0: $(STAMP_3.0)
env-3.1: $(STAMP_3.1)
env-3.2: $(STAMP_3.2)
env-3.3: $(STAMP_3.3)
env-sdks: $(STAMP_sdks)
env-sdks-heavy: $(STAMP_sdks-heavy)
env-files: $(STAMP_files)
env-bench: $(STAMP_bench)
env-ha: $(STAMP_ha)
env-live: $(STAMP_live)

$(STAMP_3.1) $(STAMP_3.2) $(STAMP_3.3): .venvs/%/installed-$(VERSION): constraints/airflow-%.txt pyproject.toml $(INSTALLER_STAMP)
	$(call build,.venvs/$*,$<,$(PYTHON))

$(STAMP_2.11) $(STAMP_3.0): .venvs/%/installed-$(OLD_VERSION): constraints/airflow-%.txt pyproject.toml $(INSTALLER_STAMP)
	@test -n "$(OLD_PYTHON)" || { echo "Airflow $* needs Python 3.10, 3.11 or 3.12 and this is $(VERSION): \
	install one of them, or run make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(call build,.venvs/$*,$<,$(OLD_PYTHON))

$(STAMP_files): constraints/files.txt pyproject.toml $(INSTALLER_STAMP)
	$(call build,.venvs/files,$<,$(PYTHON))

$(STAMP_bench): constraints/bench.txt pyproject.toml $(INSTALLER_STAMP)
	$(call build,.venvs/bench,$<,$(PYTHON))

$(STAMP_ha): constraints/ha.txt pyproject.toml $(INSTALLER_STAMP)
	$(call build,.venvs/ha,$<,$(PYTHON))

# The drivers of PostgreSQL beside a line's environment, as pinned for test-ha
.SECONDEXPANSION:
$(UNIT_LINES:%=.venvs/postgres-%/installed): .venvs/postgres-%/installed: $$(STAMP_$$*) constraints/ha.txt
	@rm -rf $(@D)
	@.venvs/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) \
		$$(sed -n 's/^\(\(psycopg2-binary\|asyncpg\)==[0-9.]*\).*/\1/p' constraints/ha.txt)
	@touch $@

# Seven gigabytes: built again for new pins alone
$(STAMP_live): constraints/live.txt $(INSTALLER_STAMP)
	$(call build,.venvs/live,$<,$(PYTHON))

$(STAMP_sdks): constraints/sdks.txt pyproject.toml $(INSTALLER_STAMP)
	$(call build,.venvs/sdks,$<,$(PYTHON))

$(STAMP_sdks-heavy): constraints/sdks-heavy.txt pyproject.toml $(INSTALLER_STAMP)
	$(call build,.venvs/sdks-heavy,$<,$(PYTHON))

$(UV_STAMP):
	@rm -rf .venvs/uv
	@$(PYTHON) -m venv .venvs/uv
	@.venvs/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
