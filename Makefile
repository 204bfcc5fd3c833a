# Targets for contributors. The gate is .ci/run; the targets here are its parts, run in an existing
# environment.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: install lint format test check samples bench clean

install: ## make an environment in .venv with all development tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --editable '.[dev]'

lint: ## lint and type-check, as the gate does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: ## format the source with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: ## run the tests
	$(BIN)/pytest

check: ## run the whole gate, in a fresh environment
	.ci/run

samples: ## regenerate samples/: make samples DASHCAM=dashcam.mp4 CAR=car_detection.mp4
	$(BIN)/python samples/make_samples.py --dashcam $(DASHCAM) --car $(CAR)

bench: ## measure speed, and update the tables of README.md and docs/; an hour on two cores
	$(BIN)/python -m benchmarks.suite
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.stages --memory --json benchmarks/results/memory.json
	$(BIN)/python -m benchmarks.tiling --json benchmarks/results/tiling.json
	$(BIN)/python -m benchmarks.training_step

clean: ## remove build outputs and caches, but not runs/ and .venv
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -exec rm -rf {} +
