PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench drill clean

demo: $(STAMP)  ## a whole nightly run against a simulated Foursquare, in a database of its own
	$(BIN)/checkinsync demo

test: $(STAMP)  ## all tests, those with a real PostgreSQL among them
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(STAMP)  ## what a change has to pass besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)  ## the figures of docs/benchmarks.md, made anew
	cd tests && ../$(BIN)/python -m bench

drill: $(STAMP)  ## a thousand nights with faults at every seam; SEED=7 NIGHTS=70 play others
	cd tests && ../$(BIN)/python -m drill \
		$(if $(SEED),--seed $(SEED)) $(if $(NIGHTS),--nights $(NIGHTS)) $(DRILL)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)
