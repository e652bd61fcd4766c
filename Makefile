# Everything one does here. `make help` lists it.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help install packages demo test check unit e2e stress bench generate manifests format lock clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(VENV)/.installed ## a .venv with everything for working here

$(VENV)/.installed: requirements-dev.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

packages: ## the Debian packages that clusters and images need (nothing, where they are there)
	@tools/install-packages.sh

demo: install packages ## from nothing to a finished WorkflowExecution on a cluster
	@$(BIN)/python -m tools.demo

test: install packages check ## everything: style, types, layers, generated files, unit, integration, conformance, end to end
	@$(BIN)/python -m pytest tests/conformance tests/integration tests/replay tests/e2e/cluster tests/e2e/manifests tests/unit -n 2 --dist loadfile --no-loadscope-reorder -q
	@$(BIN)/python -m pytest tests/e2e/cases

stress: install packages ## the end-to-end cases under load and injected faults, which take long
	@$(BIN)/python -m pytest tests/e2e/cases -m stress

check: install ## style, types, layers, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/mypy --no-warn-unused-configs -p tests -p tools -p benchmarks
	@$(BIN)/lint-imports
	@$(BIN)/python -m tools.generate --check

unit: install ## the quick tests
	@$(BIN)/python -m pytest tests/unit -q

e2e: install packages ## the end-to-end cases; E2E_KEEP_CLUSTER=1 keeps the cluster for the next time
	@$(BIN)/python -m pytest tests/e2e/cases -m "not stress"

bench: install packages ## the figures of docs/performance.md
	@$(BIN)/python -m benchmarks

generate: install ## CRDs, the chart's and Kustomize's copies of them, protobuf stubs, docs/conformance.md
	@$(BIN)/python -m tools.generate

manifests: install ## _kustomize/base from the chart
	@$(BIN)/python -m tools.manifests

format: install ## make the style right
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

lock: ## resolve the dependencies anew
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	@$(BIN)/python -m tools.dev_server_lock

clean: ## remove what was made here, and the kept cluster
	@$(PYTHON) -m tests.e2e.cluster down || true
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
