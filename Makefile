# `make demo` and `make test` are each the whole set-up on a machine with Python >= 3.11, make and git.
# PYTHON=python3.12 chooses the interpreter; STRICT=1 makes a skipped test a failure.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLOSING := build/closing.jsonl
PYTEST := $(BIN)/python -m pytest -q -p tests.support.tiers -p tests.support.strict --closing $(CLOSING)
BENCHES := $(subst _,-,$(patsubst bench/%.py,bench-%,$(shell grep -l "^if __name__ ==" bench/*.py)))

.PHONY: help venv format lint types layers fast check test demo schema chaos mutants mutmut fuzz $(BENCHES) clean

help:
	@echo "make demo     30 jobs over 3 accounts, every part a real process, the upstream a simulator"
	@echo "make check    before each commit: format, lint, types, layers, unit and script tests"
	@echo "make test     check, and everything else"
	@echo "make format   let ruff format and fix"
	@echo "make schema   10,000 calls made from the OpenAPI document, every answer held against it; ARGS= are the program's"
	@echo "make chaos    everything dies while jobs run; SEED= JOBS= FAULTS=, ARGS= are the program's (half an hour)"
	@echo "make mutants  break a rule on purpose, see a test fail"
	@echo "make mutmut   the same in Python, a sample of what mutmut finds; ARGS= are the program's"
	@echo "make fuzz     thousands of jobs on the scripts in virtual time, then without each rule; SEED= JOBS="
	@echo "make clean    remove what the others made"
	@echo "make $(BENCHES)   measure; ARGS= are the program's"

venv: $(VENV)/.installed

# Debian's pip is older than dependency groups are: it is renewed before it installs them.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; name one: make PYTHON=python3.12")'
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: venv
	$(BIN)/mypy

layers: venv
	$(BIN)/lint-imports --no-logo

fast: venv
	@rm -f $(CLOSING)
	$(PYTEST) --tier fast -n 2

check: lint types layers fast

test: check
	$(PYTEST) --tier rest -n 3
	$(PYTEST) --tier alone -n 2 --dist loadgroup
	@$(BIN)/python -m tests.support.strict $(CLOSING) $(if $(filter 1,$(STRICT)),--strict)

demo: venv
	$(BIN)/python -m demo

schema: venv
	$(BIN)/python -m tests.schema $(ARGS)

chaos: venv
	$(BIN)/python -m chaos $(if $(SEED),--seed $(SEED)) $(if $(JOBS),--jobs $(JOBS)) $(if $(FAULTS),--faults $(FAULTS)) $(ARGS)

mutants: venv
	$(BIN)/python -m tests.mutants

mutmut: venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group mutation
	$(BIN)/python -m tests.mutants.sampled $(ARGS)

fuzz: venv
	$(BIN)/python -m tests.fuzz --seed $(or $(SEED),1) --jobs $(or $(JOBS),13000) --switches

$(BENCHES): bench-%: venv
	$(BIN)/python -m bench.$(subst -,_,$*) $(ARGS)

clean:
	rm -rf $(VENV) build dist demo-out chaos-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
