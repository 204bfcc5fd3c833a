# What a contributor runs. The gate itself is .ci/run; the targets here are its parts, for a
# working environment that is already there.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: install lint format test check samples bench clean

install: ## an environment in .venv with everything to work on the project
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --editable '.[dev]'

lint: ## what the gate lints and type-checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: ## let ruff put the source in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: ## the tests alone
	$(BIN)/pytest

check: ## the whole gate, in a fresh environment
	.ci/run

samples: ## make samples/ anew: make samples DASHCAM=dashcam.mp4 CAR=car_detection.mp4
	$(BIN)/python samples/make_samples.py --dashcam $(DASHCAM) --car $(CAR)

bench: ## every figure about speed, and the tables in README.md and docs/; an hour on two cores
	$(BIN)/python -m benchmarks.suite
	$(BIN)/python -m benchmarks.tables
	$(BIN)/python -m benchmarks.stages --memory --json benchmarks/results/memory.json
	$(BIN)/python -m benchmarks.tiling --json benchmarks/results/tiling.json
	$(BIN)/python -m benchmarks.training_step

clean: ## what tools leave behind; never runs/, never .venv
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -exec rm -rf {} +
