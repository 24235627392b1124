# Everything lives in .venv; nothing outside this folder is changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-run
PIP_ARGS ?=

.PHONY: demo test lint unit coverage clean

demo: $(VENV)/.installed  ## evaluate the bundled puzzles on a local Ray with the bundled weights
	rm -rf $(OUT)
	$(BIN)/eqr-ray evaluate --puzzles "$$($(BIN)/eqr-ray data demo sudoku6)" --out $(OUT)/sudoku6
	$(BIN)/eqr-ray evaluate --puzzles "$$($(BIN)/eqr-ray data demo sudoku9)" --out $(OUT)/sudoku9
	@echo "Reports: $(OUT)/sudoku6/report.html and $(OUT)/sudoku9/report.html"

test: $(VENV)/.dev lint  ## what CI runs
	$(BIN)/pytest -q

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.dev  ## the tests without Ray, in under a minute
	$(BIN)/pytest -q tests/unit

coverage: $(VENV)/.dev
	$(BIN)/pytest -q --cov --cov-report=term-missing:skip-covered tests/unit tests/contract tests/sim tests/parity

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -e . -c constraints.txt $(PIP_ARGS)
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -e '.[dev]' -c constraints.txt $(PIP_ARGS)
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) $(OUT)
