# Everything starts from a clean checkout with make and Python 3.11, 3.12 or 3.13.
# Each environment is built once: its stamp is newer than what it was built from.

VENV ?= .venv
TORCH ?= .venv-torch
PEERS ?= .venv-peers

SUITABLE := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c '$(SUITABLE)' >/dev/null 2>&1 && echo "$$name" && break; done)

# `bin` on Linux and macOS.
BIN := $(VENV)/bin
TORCH_TESTS := tests/test_vintage.py tests/test_api.py tests/test_interop_tf_keras.py \
	tests/loading/test_own_gradients.py tests/test_checkpoints.py
# Files of tests go to as many processes; each has a peer of its own (1 GB).
WORKERS ?= 2
PYTEST := python -m pytest --numprocesses $(WORKERS) --dist loadfile
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: help quickstart test test-torch sweep lint format bench docs matrix clean
.DEFAULT_GOAL := help

help:
	@echo "make quickstart   install Regraft into $(VENV) and show what it does"
	@echo "make test         run the tests (builds $(VENV) and $(PEERS), where TensorFlow lives)"
	@echo "make test-torch   loading, training and saving with Keras on PyTorch"
	@echo "make sweep        the rest of the golden sweeps, of which make test takes a seeded share"
	@echo "make interop      measure what opens our files, and write docs/interop.md"
	@echo "make lint         ruff and mypy"
	@echo "make format       let ruff format the sources"
	@echo "make bench        measure against tf_keras, Keras' own .keras files, TensorFlow and OpenVINO"
	@echo "make docs         build the documentation into site/"
	@echo "make matrix       fast tests on each Python, lowest and newest dependencies"
	@echo "make clean        remove all that the above made"

quickstart: $(VENV)/.installed
	@$(BIN)/python examples/quickstart.py

test: $(VENV)/.installed-test $(PEERS)/.installed
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" $(BIN)/$(PYTEST) -m "not slow" $(PYTEST_ARGS)

# PyTorch is large: `make test` goes without.
test-torch: $(TORCH)/.installed $(PEERS)/.installed
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" REGRAFT_TEST_BACKEND=torch \
		$(TORCH)/bin/$(PYTEST) -m "not slow" $(TORCH_TESTS) $(PYTEST_ARGS)

sweep: $(VENV)/.installed-test $(PEERS)/.installed
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" $(BIN)/$(PYTEST) -m slow $(PYTEST_ARGS)

interop: $(VENV)/.installed-test $(PEERS)/.installed $(PEERS)-onnx/.installed $(PEERS)-tfjs/.installed
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" \
	 REGRAFT_ONNX_PYTHON="$(abspath $(PEERS))-onnx/bin/python" \
	 REGRAFT_TFJS_PYTHON="$(abspath $(PEERS))-tfjs/bin/python" \
	 $(BIN)/python tests/interop/matrix.py $(INTEROP_ARGS)

lint: $(VENV)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed-test
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed $(PEERS)/.installed
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" $(BIN)/python benchmarks/run.py $(BENCH_ARGS)
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" $(BIN)/python benchmarks/throughput.py $(THROUGHPUT_ARGS)
	@REGRAFT_PEERS_PYTHON="$(abspath $(PEERS))/bin/python" $(BIN)/python benchmarks/traces.py $(TRACES_ARGS)

docs: $(VENV)/.installed-docs
	@$(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html"

matrix: | check-python
	@$(PYTHON) tests/matrix.py $(MATRIX_ARGS)

clean:
	rm -rf $(VENV) $(TORCH) $(PEERS) .matrix build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: check-python
check-python:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(SUITABLE)' || { \
		echo "Regraft needs Python 3.11, 3.12 or 3.13 with the venv module; none was found on PATH."; \
		echo "Install one (on Debian: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python3 ..."; \
		exit 1; }

$(VENV)/bin/python: | check-python
	@echo "Building $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable ".[docs]"
	@touch $@ $(VENV)/.installed

$(TORCH)/.installed: pyproject.toml | check-python
	@test -x $(TORCH)/bin/python || $(PYTHON) -m venv $(TORCH)
	@$(TORCH)/bin/python -m pip install $(PIP_FLAGS) --editable ".[test]" torch
	@touch $@

$(PEERS)/.installed: tests/peer/requirements.txt tests/peer/requirements-no-deps.txt | check-python
	@echo "Building $(PEERS) (TensorFlow, tf_keras and OpenVINO, for tests only) ..."
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install $(PIP_FLAGS) --requirement tests/peer/requirements.txt
	@$(PEERS)/bin/python -m pip install $(PIP_FLAGS) --no-deps --requirement tests/peer/requirements-no-deps.txt
	@touch $@

# Converters want versions that don't go with the others', and only `make interop` them.
$(PEERS)-onnx/.installed: tests/peer/requirements-onnx.txt tests/peer/requirements-no-deps.txt | check-python
	@echo "Building $(PEERS)-onnx (tf2onnx and onnxruntime, for make interop only) ..."
	@test -x $(PEERS)-onnx/bin/python || $(PYTHON) -m venv $(PEERS)-onnx
	@$(PEERS)-onnx/bin/python -m pip install $(PIP_FLAGS) --requirement tests/peer/requirements-onnx.txt
	@$(PEERS)-onnx/bin/python -m pip install $(PIP_FLAGS) --no-deps --requirement tests/peer/requirements-no-deps.txt
	@touch $@

$(PEERS)-tfjs/.installed: tests/peer/requirements-tfjs.txt | check-python
	@echo "Building $(PEERS)-tfjs (tensorflowjs and TensorFlow.js, for make interop only) ..."
	@command -v npm >/dev/null || { echo "TensorFlow.js runs in Node.js: install node and npm."; exit 1; }
	@test -x $(PEERS)-tfjs/bin/python || $(PYTHON) -m venv $(PEERS)-tfjs
	@$(PEERS)-tfjs/bin/python -m pip install $(PIP_FLAGS) --requirement tests/peer/requirements-tfjs.txt
	@npm install --silent --no-audit --no-fund --prefix $(PEERS)-tfjs @tensorflow/tfjs@4.22.0
	@touch $@
