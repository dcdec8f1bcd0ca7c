.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTOS_VENV := .venv-protos
PROTOS_BIN := $(PROTOS_VENV)/bin
OUT := libs
PROTOS = $(shell find protos -name '*.proto' | sort)
SERVICES = $(shell grep -l '^service ' $(PROTOS))

# A test starts hundreds of processes: what one of them compiled, the others need not.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo test test-all test-kurrentdb kernel fuzz bench bench-peers oracle lint format protos protos-check protos-lint dev clean

help:  ## Say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group dev --editable '.[server,eventstoredb,postgres,demo]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group fuzz
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

# The generator's runtime pins differ from the servers', so it lives apart.
$(PROTOS_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(PROTOS_VENV)
	$(PROTOS_BIN)/python -m pip install --quiet --upgrade pip
	$(PROTOS_BIN)/python -m pip install --quiet --group protos
	@touch $@

dev: $(VENV)/.installed  ## Install everything needed to work here

# A story is not told over another: the second one gets a folder of its own.
demo: $(VENV)/.installed  ## Watch real models live a real year under governance
	$(BIN)/modelkeep demo $(if $(wildcard .modelkeep/ledger.db),--home .modelkeep/again-$(shell date +%Y%m%d-%H%M%S))

# Neighbours share what is costly to set up, so each process begins with half in order.
test: $(VENV)/.installed  ## Run the fast tests
	$(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-profile fast -m 'not slow and not kurrentdb'

test-all: $(VENV)/.installed  ## Run every test that needs nothing running
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not kurrentdb'

test-kurrentdb: $(VENV)/.installed  ## Run the store's contract against KurrentDB at URI=esdb://...
	MODELKEEP_KURRENTDB_URI='$(URI)' $(BIN)/python -m pytest tests/contract -m kurrentdb

kernel: $(VENV)/.installed  ## Build the optional kernels that hash rows and read facts (needs a C compiler)
	$(BIN)/python -m modelkeep.policy.decode
	$(BIN)/python -m modelkeep.decisions.kernel

# What reached something new is kept in build/fuzz, and spoiled further the next time.
fuzz: $(VENV)/.fuzz  ## Feed parsers for SECONDS=60 each what leads further in (PARSERS='note dsse', or all)
	$(BIN)/python -m tests.faults.fuzz_guided --seconds $(or $(SECONDS),60) $(PARSERS)

bench: $(VENV)/.bench  ## Measure, beside peers and limits, into build/bench.json
	-@$(MAKE) --no-print-directory kernel
	$(BIN)/python -m tests.bench.harness

# Their pins exclude each other's, so each has an environment of its own: 4 GB in all.
bench-peers: $(VENV)/.installed $(patsubst tests/bench/peers/%.txt,build/peers/%/.installed,$(wildcard tests/bench/peers/*.txt))  ## Measure beside the libraries people use, each installed apart
	-@$(MAKE) --no-print-directory kernel
	$(BIN)/python -m tests.bench.harness drift_peers policy_gates

build/peers/%/.installed: tests/bench/peers/%.txt
	$(PYTHON) -m venv build/peers/$*
	build/peers/$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

# Its licence is not ours, so nothing that is shipped may need it: it is only asked.
oracle: build/oracle/.installed  ## Install apart the library that Merkle proofs are compared with

build/oracle/.installed: tests/oracle/pymerkle.txt
	$(PYTHON) -m venv build/oracle
	build/oracle/bin/python -m pip install --quiet --requirement $<
	@touch $@

lint: $(VENV)/.installed  ## Ruff, mypy --strict, import contracts
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(VENV)/.installed  ## Let ruff tidy up
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

protos: $(PROTOS_VENV)/.installed  ## Regenerate libs/modelkeep/api from protos/
	rm -rf build/protos && mkdir -p build/protos $(OUT)/modelkeep
	PATH="$(CURDIR)/$(PROTOS_BIN):$$PATH" python -m grpc_tools.protoc --proto_path=protos \
	  --python_out=build/protos --mypy_out=quiet:build/protos $(PROTOS)
	PATH="$(CURDIR)/$(PROTOS_BIN):$$PATH" python -m grpc_tools.protoc --proto_path=protos \
	  --grpc_python_out=build/protos --mypy_grpc_out=quiet,only_sync:build/protos $(SERVICES)
	find build/protos/modelkeep/api -type d -exec touch {}/__init__.py \;
	rm -rf $(OUT)/modelkeep/api && mv build/protos/modelkeep/api $(OUT)/modelkeep/api

protos-check: $(PROTOS_VENV)/.installed  ## Fail if libs/modelkeep/api is not what protos/ says
	@fresh=$$(mktemp -d) && $(MAKE) --silent protos OUT=$$fresh \
	  && diff -r -x __pycache__ libs/modelkeep/api $$fresh/modelkeep/api \
	  || { echo 'Generated code is stale: run `make protos`.'; exit 1; }

protos-lint: $(PROTOS_VENV)/.installed  ## buf lint, and breaking changes against the image
	$(PROTOS_BIN)/buf lint protos
	$(PROTOS_BIN)/buf breaking protos --against protos/image.binpb

clean:  ## Remove what was built, not what was recorded
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache
