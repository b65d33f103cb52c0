# Lamplighter: `make run` shows the nightly loop, `make test` proves it. `make help` lists the rest.
PYTHON ?= python3
export PYTHON
LAMPLIGHTER := .venv/bin/lamplighter

.DEFAULT_GOAL := help
.PHONY: help run test chaos bench check format down status doctor docs lock hooks clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/ready-to-run: tools/setup requirements-setup.txt requirements.txt pyproject.toml
	@tools/setup run

.venv/ready-to-test: tools/setup requirements-setup.txt requirements.txt requirements-dev.txt pyproject.toml
	@tools/setup test

run: .venv/ready-to-run ## Set everything up and run the nightly loop on real flights; both user interfaces stay up.
	@$(LAMPLIGHTER) demo

test: .venv/ready-to-test ## Set everything up and run the whole test suite, three files at a time.
	@.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

SEED ?= $(shell date +%s)
chaos: .venv/ready-to-test ## Kill, fail, fill, pause and race scoring and promotions; SEED, SEEDS, KILLS, ROUNDS choose what.
	@CHAOS_SEED=$(SEED) CHAOS_SEEDS=$(SEEDS) CHAOS_CLUSTER_SEEDS=$(CLUSTER_SEEDS) \
		CHAOS_AIRFLOW_RUNS=$(AIRFLOW_RUNS) CHAOS_KILLS=$(KILLS) CHAOS_ROUNDS=$(ROUNDS) .venv/bin/python -m pytest -m chaos

ROWS ?= 10000000
bench: .venv/ready-to-test ## Time scoring beside what else one would take; `make bench ROWS=1000000` is the short form.
	@.venv/bin/python benchmarks/bench.py --rows $(ROWS)

check: .venv/ready-to-test ## Format, lint, types, import contracts: what the hook and CI run too.
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache | tail -n 2

format: .venv/ready-to-test ## Put the code into shape.
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

down: .venv/ready-to-run ## Stop what `make run` left up.
	@$(LAMPLIGHTER) down

status: .venv/ready-to-run ## Show the stages of every model and the published partitions.
	@$(LAMPLIGHTER) status

doctor: .venv/ready-to-run ## Check what Lamplighter needs on this machine, with a remedy for each.
	@$(LAMPLIGHTER) doctor

docs: .venv/ready-to-run ## Write the spec's reference and JSON Schema anew.
	@$(LAMPLIGHTER) spec schema > docs/model.schema.json
	@$(LAMPLIGHTER) spec reference > docs/spec.md

lock: .venv/ready-to-run ## Resolve requirements*.in into the locked requirements*.txt.
	@for name in requirements-setup requirements requirements-dev; do .venv/bin/uv pip compile --quiet --universal \
		--python-version 3.11 --generate-hashes --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; done

hooks: ## Run `make check` before every commit of this clone.
	@git config core.hooksPath tools/hooks

clean: ## Stop the stack, and remove what it keeps and the virtual environment.
	@if [ -x $(LAMPLIGHTER) ]; then $(LAMPLIGHTER) down; fi
	@rm -rf .lamplighter .venv
