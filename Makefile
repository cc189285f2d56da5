# Two commands for everyone: `make demo` and `make test`. Both set up their own .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_ARGS ?=

.PHONY: help demo test test-anywhere test-oldest check docs wheel lock clean

help:
	@echo "make demo   train a small diffusion model on pieces of photographs, generate, attribute, write a page"
	@echo "make test   run the tests"
	@echo "make check  run linters, type checks and import contracts"
	@echo "make docs   build the documentation"
	@echo "make clean  remove what these commands made"
	@echo "On Linux, a CPU-only torch saves gigabytes:"
	@echo "  make demo PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'"

demo: $(VENV)/.installed
	$(BIN)/retrac demo --out retrac-demo

# One thread each: the tests' tensors are too small to share between threads.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4

# The same on a processor without vector instructions: no test may hang on the kernels of one.
test-anywhere: $(VENV)/.installed
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 \
	    $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4

# The same with the oldest packages that pyproject.toml admits, in an environment of its own: 5 GB, since
# the oldest torch of a package index is a build for GPUs.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	    --constraint requirements/oldest.txt --editable '.[all]' hypothesis pytest pytest-xdist
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	    --no-deps --requirement requirements/no-deps.txt
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest --numprocesses=auto --maxprocesses=4

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -j auto -W --keep-going -q docs build/docs
	@echo "documentation: build/docs/index.html"

wheel: $(VENV)/.installed
	$(BIN)/python -m build --outdir build/dist .

# The pins of every tool and library, for all supported Pythons; needs uv. torch's own pins of CUDA
# packages are left out, since a CPU build of torch does not ask for them.
lock:
	uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate \
	    --extra all --extra dev --extra docs --override requirements/overrides.txt pyproject.toml \
	    | grep -vE '^(nvidia-|cuda-|triton)' > requirements/lock.txt

$(VENV)/.installed: pyproject.toml requirements/lock.txt requirements/no-deps.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "Python 3.10 or newer is needed, PYTHON=$(PYTHON) is older"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing the pinned packages into $(VENV); the first time takes some minutes"
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) \
	    --constraint requirements/lock.txt --editable '.[all,dev]'
	$(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) \
	    --no-deps --requirement requirements/no-deps.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
	    --constraint requirements/lock.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) .venv-oldest build retrac-demo .pytest_cache .mypy_cache .ruff_cache
