# Every target sets itself up: a virtual environment in $(VENV), nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKDIR ?= workdir/quickstart

.PHONY: quickstart miniature test pythons parity chaos remote fuzz bench plans \
  traffic savedmodel onnx exports docs lint format clean

quickstart: $(VENV)/installed
	$(BIN)/vit_jax train --config=configs/quickstart.py --workdir=$(WORKDIR)

# The paper's questions on a CPU, in minutes; fills in docs/miniature.md.
miniature: $(VENV)/installed
	$(BIN)/vit_jax miniature --workdir=workdir/miniature --page=docs/miniature.md

test: $(VENV)/installed-test
	$(BIN)/pytest -n 2 --dist loadscope --ignore=tests/parity

# The wheel in each of PYTHONS, with what it requires installed anew: minutes.
PYTHONS ?= $(wildcard $(HOME)/.pyenv/versions/3.1[1-3].*/bin/python)
pythons: $(VENV)/installed-test
	for python in $(PYTHONS); do \
	  $(BIN)/pytest tests/test_wheel.py --python=$$python || exit 1; \
	done

# Against timm and transformers. With PyTorch's CPU build it is much smaller:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make parity
parity: $(VENV)/installed-parity
	$(BIN)/pytest -n 2 tests/parity

# Every fault of docs/faults.md, and 200 runs killed at random; writes its table.
chaos: $(VENV)/installed-test
	$(BIN)/pytest tests/faults -m '' --faults-table=docs/faults.md

# Runs, data and weights in emulators of Google's and Amazon's stores: killed at
# random, with stores that are slow, refuse, or lose connections.
remote: $(VENV)/installed-test
	$(BIN)/pytest -n 3 tests/remote -m ''

# 20,000 changed files over all readers: no traceback, no hang, little memory.
# Those that fail are kept in workdir/fuzz.
fuzz: $(VENV)/installed-test
	$(BIN)/python tests/security/fuzz.py --count=20000 --seed=0 \
	  --kept=workdir/fuzz $(OPTIONS)

# Training and inference steps beside other people's, in half an hour on a CPU;
# fills in benchmarks/results/. Give OPTIONS of benchmarks/step.py.
bench: $(VENV)/installed-parity
	$(BIN)/python benchmarks/step.py $(OPTIONS)

# Pre-trainings of the paper, compiled for TPUs that need not be there: hours, and
# it resumes where it stopped. What devices send each other, for 8 to 256 of them.
plans: $(VENV)-tpu/installed
	$(VENV)-tpu/bin/python benchmarks/plans.py --page=docs/plans.md

# Exports in all formats, against the model; fills in the table of docs/export.md
# with `make exports OPTIONS=--page=docs/export.md`.
savedmodel onnx: $(VENV)-export/installed
	$(VENV)-export/bin/pytest tests/inference/test_export_formats.py -k $@

exports: $(VENV)-export/installed
	$(VENV)-export/bin/python benchmarks/export.py $(OPTIONS)

traffic: $(VENV)/installed
	$(BIN)/python benchmarks/traffic.py --page=docs/traffic.md

# The site, from docs/, docstrings and notebooks: docs/_build/html/index.html. A
# warning is an error: links that lead nowhere, pages that nobody lists.
docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build --builder=html --nitpicky --fail-on-warning --keep-going \
	  --quiet docs docs/_build/html

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-tpu $(VENV)-export build docs/_build docs/notebooks \
	  docs/reference *.egg-info

$(VENV)/installed: setup.py requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile --editable .
	touch $@

# Apart: where the compiler for TPUs is installed, JAX looks for a TPU.
$(VENV)-tpu/installed: setup.py requirements.txt
	$(PYTHON) -m venv $(VENV)-tpu
	$(VENV)-tpu/bin/pip install --quiet --no-compile --editable .[tpu]
	touch $@

# Apart: TensorFlow is large, and nothing else needs it.
$(VENV)-export/installed: setup.py requirements.txt
	$(PYTHON) -m venv $(VENV)-export
	$(VENV)-export/bin/pip install --quiet --no-compile \
	  --editable .[test,export,onnx,savedmodel]
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --no-compile --editable .[test]
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/pip install --quiet --no-compile --editable .[docs]
	touch $@

$(VENV)/installed-parity: $(VENV)/installed-test
	$(BIN)/pip install --quiet --no-compile --editable .[parity]
	touch $@
