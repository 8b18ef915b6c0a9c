# Everything a newcomer needs; `make` without a target runs the main job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
AUDIT := .venv-audit

# Each process of a test would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := run
.PHONY: run ui serve test test-fast lint format lock audit clean

run: $(READY)  ## Sample data if the lake is empty, then the last 14 days
	@$(BIN)/training-assets run

ui: $(READY)  ## The Dagster UI on the same instance, http://127.0.0.1:3000
	@$(BIN)/training-assets ui

serve: $(VENV)/.ready-service  ## The HTTP service on 127.0.0.1:8002; shows a first key once
	@$(BIN)/training-assets serve

# Three on two cores: many tests wait for servers.
test: $(READY)/test lint  ## The whole suite, on both engines
	@$(BIN)/python -m pytest -n 3 --dist loadgroup

# The other two folders have whole programs, of which most of the time is the start, and their ends.
test-fast: $(READY)/test lint  ## The loop: unit/ and contract/ without Spark; make test has the rest
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not spark" training_assets_tests/unit training_assets_tests/contract

lint: $(READY)/test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)/test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY)/test  ## Pin what is installed now
	@$(BIN)/pip freeze --exclude-editable --exclude training-assets | grep -v '@' > constraints.txt

audit:  ## Known vulnerabilities of what is pinned; needs a network. Strict: unknown is not safe
	@test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/pip install --quiet --disable-pip-version-check pip-audit; }
	@$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

clean:
	rm -rf $(VENV) $(AUDIT)

# Two markers: what runs the platform, and what tests it besides.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=…")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@mkdir -p $(READY) && touch $(READY)

$(VENV)/.ready-service: pyproject.toml constraints.txt | $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[service]"
	@touch $@

$(READY)/test: $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,torch,test-torch,transactions,completejourney,service]"
	@touch $(READY) $(READY)/test
