# Every target sets itself up: a virtual environment in $(VENV), nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= workdir/quickstart

.PHONY: quickstart test parity lint format clean

quickstart: $(VENV)/installed
	$(BIN)/vit_jax train --config=configs/quickstart.py --workdir=$(WORKDIR)

test: $(VENV)/installed-test
	$(BIN)/pytest -n 2 --dist loadscope --ignore=tests/parity

# Against timm and transformers. With PyTorch's CPU build it is much smaller:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make parity
parity: $(VENV)/installed-parity
	$(BIN)/pytest -n 2 tests/parity

# Every fault of docs/faults.md, and 200 runs killed at random; writes its table.
chaos: $(VENV)/installed-test
	$(BIN)/pytest tests/faults -m '' --faults-table=docs/faults.md

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/installed: setup.py requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --editable .[test]
	touch $@

$(VENV)/installed-parity: $(VENV)/installed-test
	$(BIN)/pip install --quiet --editable .[parity]
	touch $@
