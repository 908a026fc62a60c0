PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv demo test bench check format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

venv: $(STAMP)  ## a virtual environment with everything that tests and benchmarks need

$(STAMP): pyproject.toml constraints.txt tests/support/install_torchvision_shim.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision triton
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	$(BIN)/python tests/support/install_torchvision_shim.py
	touch $(STAMP)

demo: $(STAMP)  ## ask the model that ships, dense and compressed: reports in the terminal, overlay in out/
	$(BIN)/framegate run src/framegate/assets/codes.mp4 "What text stands at 4.9 seconds?" --fps 4 --keep-ratio 0.25
	$(BIN)/framegate view src/framegate/assets/slides.mp4 --fps 10 --keep-ratio 0.15 --out out

test: $(STAMP)  ## the test suite (2 cores, under 15 minutes)
	$(BIN)/python -m pytest -n 2 -m "not slow" --durations 10

bench: $(STAMP)  ## time the kernels, whose tests have to pass first, and renew the tables
	$(BIN)/framegate bench --compile --tests tests/kernels --out benchmarks/kernels/results
	$(BIN)/python benchmarks/tables.py

check: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## put the format right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache
