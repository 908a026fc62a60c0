PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
STAMP := $(VENV)/.installed
FLOOR := .venv-floor
CLIENTS := .venv-clients
BROWSER := .venv-browser
DOCS := .venv-docs
# where torch comes from: PyPI, or https://download.pytorch.org/whl/cpu for a small CPU build on Linux
TORCH_INDEX ?=
# neighbours stay on one worker, which makes what they share once; a worker that is done takes over from the other
SUITE := python -m pytest -n 2 --dist worksteal
RUNS_FROM := pyproject.toml constraints.txt
INSTALLED_FROM := $(RUNS_FROM) tests/support/install_torchvision_shim.py

# modules are compiled where they are imported: all of torch and transformers would take longer
PIP_INSTALL := bin/python -m pip install --quiet --no-compile --constraint constraints.txt

# $(call install_running,FOLDER,MORE REQUIREMENTS): a virtual environment with what framegate runs on, and no more
define install_running
$(PYTHON) -m venv $(1)
$(1)/$(PIP_INSTALL) $(TORCH_INDEX:%=--index-url %) torch
$(1)/$(PIP_INSTALL) --editable . $(2)
touch $(1)/.runs
endef

# $(call install_tests,FOLDER,MORE REQUIREMENTS): on top of it, all that tests need
define install_tests
$(1)/$(PIP_INSTALL) $(TORCH_INDEX:%=--index-url %) torchvision
$(1)/$(PIP_INSTALL) --editable ".[test]" $(2)
$(1)/bin/python tests/support/install_torchvision_shim.py
touch $(1)/.installed
endef

define install
$(call install_running,$(1),$(2))
$(call install_tests,$(1),$(2))
endef

.PHONY: help venv demo test test-families test-slow test-clients test-browser test-scale test-floor test-floor-full fuzz bench docs check format clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

venv: $(STAMP)  ## a virtual environment with everything that tests and benchmarks need

$(RUNS): $(RUNS_FROM)
	$(call install_running,$(VENV),)

$(STAMP): $(RUNS) $(INSTALLED_FROM)
	$(call install_tests,$(VENV),)

$(FLOOR)/.installed: $(INSTALLED_FROM)
	$(call install,$(FLOOR),"transformers==5.19.*")

$(CLIENTS)/.installed: $(INSTALLED_FROM)
	$(call install,$(CLIENTS),bitsandbytes datasets decord "filelock<4" ipykernel lmms-eval nbclient optimum-quanto qwen-vl-utils "ray[data]<2.64" torchao "transformers[serving]" "trl>=1.0")

# apart from the clients: gradio holds Pillow below 13
$(BROWSER)/.installed: $(INSTALLED_FROM)
	$(call install,$(BROWSER),axe-playwright-python "gradio>=6.31" playwright)

demo: $(RUNS)  ## ask the model that ships, dense and compressed: both shares in the terminal, overlay in out/
	$(BIN)/framegate run src/framegate/assets/codes.mp4 "What text stands at 4.9 seconds?" --fps 4 --tower-ratio 0.25 --keep-ratio 0.25
	$(BIN)/framegate view src/framegate/assets/slides.mp4 --fps 10 --keep-ratio 0.15 --out out

test: $(STAMP)  ## the test suite (2 cores, under 8 minutes)
	$(BIN)/$(SUITE) -m "not slow and not clients and not families" --durations 10

test-families: $(STAMP)  ## the whole contract on every family (2 cores, under 15 minutes)
	$(BIN)/$(SUITE) tests/models/test_families.py tests/models/test_families_own.py tests/models/test_families_sound.py --durations 10

test-slow: $(STAMP)  ## what takes minutes: every kind of fine-tuning run, every kernel compiled for every GPU
	$(BIN)/$(SUITE) -m slow --durations 10

test-clients: $(CLIENTS)/.installed  ## released packages that people put around it: qwen-vl-utils, TRL, PEFT, accelerate, ...
	$(CLIENTS)/bin/python -m pytest tests/clients -m clients --durations 10

test-browser: $(BROWSER)/.installed  ## the page of `framegate demo` in a headless Chromium, which has to be on the path
	$(BROWSER)/bin/python -m pytest tests/clients/test_client_browser.py --durations 10

test-scale: $(CLIENTS)/.installed  ## data sets with killed workers, a full disk and Ray; the server asked by OpenAI's client
	$(CLIENTS)/bin/python -m pytest tests/batch tests/clients/test_client_serve.py --durations 10

fuzz: $(STAMP)  ## twenty thousand damaged videos (half an hour), as many pictures; renews benchmarks/fuzz/results
	$(BIN)/python tests/support/fuzz_videos.py --out benchmarks/fuzz/results/fuzz.csv
	$(BIN)/python tests/support/fuzz_videos.py --corpus pictures --out benchmarks/fuzz/results/pictures.csv

test-floor: $(FLOOR)/.installed  ## what rests on transformers, with the lowest one that is supported (under 3 minutes)
	$(FLOOR)/bin/$(SUITE) -m "floor and not slow and not families" --durations 5

test-floor-full: $(FLOOR)/.installed  ## the test suite and every family with the lowest transformers
	$(FLOOR)/bin/$(SUITE) -m "not slow and not clients" --durations 10

bench: $(STAMP)  ## time the kernels, whose tests have to pass first, and renew the tables
	$(BIN)/framegate bench --compile --tests tests/kernels --out benchmarks/kernels/results
	$(BIN)/python benchmarks/tables.py

$(DOCS)/.installed: docs/requirements.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --requirement docs/requirements.txt
	touch $@

docs: $(DOCS)/.installed  ## the site, in out/site (under a minute); needs nothing of framegate installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet

check: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## put the format right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built
	rm -rf $(VENV) $(FLOOR) $(CLIENTS) $(BROWSER) $(DOCS) out build dist .mypy_cache .ruff_cache .pytest_cache
