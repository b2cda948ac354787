# `make` alone lists the commands.  Each one does all set-up that it needs; a second call starts at once.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KERNEL := $(wildcard core/training/kernel/*.cpp core/training/kernel/*.h)

WITHOUT_FAST_TESTS := attacks browser fuzz

help:            ## list the commands
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt setup.py $(KERNEL)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Rewardsmith needs Python 3.11 or newer; this is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Installing into $(VENV) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[worker,test]'
	@touch $(STAMP)

setup: $(STAMP)  ## virtual environment and pinned install

kernel: $(STAMP) ## build the optional compiled kernel again, with a C++ compiler that came later
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@$(BIN)/python -c 'from core.training import kernel; print(kernel.kind() or kernel.why_absent())'

demo: $(STAMP)   ## the whole job over REST on the embedded stack, a few minutes
	@$(BIN)/rewardsmith demo

serve: $(STAMP)  ## API and workers on the embedded stack
	@$(BIN)/rewardsmith serve

# Compiled modules are kept even where the environment says otherwise: two test processes that compile
# every module and test anew need half a minute more.
check test: export PYTHONDONTWRITEBYTECODE :=

check: $(STAMP)  ## format, lint, types, import contracts, fast tests: a minute, the first time more
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --num-workers 2
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q -n 2 -m 'not slow and not gpu' $(WITHOUT_FAST_TESTS:%=--ignore tests/%)

test: $(STAMP)   ## everything but pages in a browser: both databases, both brokers, sandbox, training, workers
	@$(BIN)/python -m pytest -q -n 2 --dist loadscope -m 'not gpu' --ignore tests/browser

chaos: $(STAMP)  ## everything killed, paused, cut off, again and again, and nothing lost: 5 minutes; LONG=1 takes half an hour
	@$(BIN)/python -m tests.chaos $(if $(LONG),--long) $(CHAOS)

fuzz: $(STAMP)   ## generated requests to the whole API, jobs of every shape, spoilt inputs to every parser; LONG=1 takes an hour
	@$(if $(LONG),REWARDSMITH_FUZZ=long) $(BIN)/python -m pytest -q -n 0 tests/fuzz

load: $(STAMP)   ## submissions and polls by the thousand, cancels, lost workers: 8 minutes; SOAK=30 lives that many minutes
	@$(BIN)/python -m bench.load $(if $(SOAK),--soak $(SOAK)) $(LOAD)

test-pages: $(STAMP) ## the pages in a real headless Chromium (apt-get install chromium), about two minutes
	@REWARDSMITH_BROWSER=required $(BIN)/python -m pytest -q -n 0 tests/browser

attacks: $(STAMP) ## the 91 attacks as every kind of worker, about a minute: one line of JSON
	@$(BIN)/python -m tests.attacks

mutations: $(STAMP) ## protections removed one by one: each must turn its suite red; one line of JSON
	@$(BIN)/python -m tests.mutations

gpu: $(STAMP)    ## the tests that need a CUDA device
	@$(BIN)/python -m pytest -q -m gpu

bench-trainer: $(STAMP) ## time the trainer against SB3: hours, resumable; QUICK=1 takes some minutes
	@$(BIN)/python -m bench.trainer.speed $(if $(QUICK),--quick) $(BENCH)

bench-design: $(STAMP) ## native, fitness, expert and designed rewards on the ladder: hours, resumable; QUICK=1 takes minutes
	@$(BIN)/python -m bench.design $(if $(QUICK),--quick) $(BENCH)

golden: $(STAMP) ## write the golden prompts, the OpenAPI snapshot and the asynchronous client again
	@$(BIN)/python -m client.twins
	@REWARDSMITH_GOLDEN=write $(BIN)/python -m pytest -q tests/heart/test_golden_prompts.py tests/heart/test_tasks_guide.py tests/shells/test_openapi.py tests/shells/test_readme.py

format: $(STAMP) ## format and mend what ruff can mend
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet .

.PHONY: help setup kernel demo serve check test test-pages chaos fuzz load attacks mutations gpu bench-trainer bench-design golden format
