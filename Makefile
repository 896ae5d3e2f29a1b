.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# More than the cores, because tests often wait for a condition; each process starts servers of its own.
processes = $(shell $(PYTHON) -c 'import os; print(min(8, $(1) * (os.cpu_count() or 1)))')
J ?= $(call processes,3)

# Use the system's certificate authorities, like pip and git. uv's own list is not sufficient behind a company proxy.
export UV_SYSTEM_CERTS ?= true

# The caller's virtual environment must not affect the project's environment.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME

# Without bytecode files, each process of the tests compiles all of its imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  \033[36mmake %-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
.PHONY: run
run: $(VENV)/ready ## Start the servers, API, worker and Flower on this machine; stop with Ctrl-C
	@exec $(BIN)/python -m devstack run

.PHONY: servers
servers: $(VENV)/ready ## Start and migrate only PostgreSQL and Valkey; start the services yourself
	@exec $(BIN)/python -m devstack servers

.PHONY: psql
psql: $(VENV)/ready ## Open psql on the database of `make run`; SQL="..." runs a statement and exits
	@$(BIN)/python -m devstack psql $(if $(SQL),--command "$$SQL")

.PHONY: redis-cli
redis-cli: $(VENV)/ready ## Open a small redis-cli on the broker of `make run`; CMD="..." runs a command and exits
	@$(BIN)/python -m devstack redis-cli $(CMD)

.PHONY: shell
shell: $(VENV)/ready ## Open a shell with celery, uvicorn, psql and redis-cli for the servers of `make run`
	@exec $(BIN)/python -m devstack shell

.PHONY: migrate
migrate: $(VENV)/ready ## Migrate the database of DATABASE_URL to the latest schema
	@cd services/api && ../../$(BIN)/alembic upgrade head

.PHONY: backup
backup: $(VENV)/ready ## Dump the database of `make run` to FILE (default: backup-TIME.dump)
	@$(BIN)/python -m devstack backup $(or $(FILE),backup-$$(date +%Y%m%dT%H%M%S).dump)

.PHONY: restore
restore: $(VENV)/ready ## Restore FILE into the empty database of `make servers`; REPLACE=1 deletes its data first
	@$(BIN)/python -m devstack restore $(if $(REPLACE),--replace) $(or $(FILE),missing)

.PHONY: reset
reset: $(VENV)/ready ## Delete the local data (.local/); stop `make run` first
	@$(BIN)/python -m devstack reset

##@ Containers
.PHONY: env
env: ## Add random values to .env for missing passwords
	@deploy/compose/make-env

.PHONY: up
up: env ## Build the images, start all containers and wait until they are healthy
	@docker compose up --build --wait

.PHONY: down
down: ## Stop the containers; their volumes keep the data
	@docker compose down

.PHONY: images
images: $(VENV)/ready ## Build the images of API, worker and Flower, and print their sizes
	@$(BIN)/python -m deploy.images

##@ Check
.PHONY: test
test: $(VENV)/ready ## Run the tests that need no Docker; T=path selects tests, J=n sets the number of processes
	@$(BIN)/pytest -n $(J) --dist loadgroup $(T)

# The outages also on the servers of the images: their signals, restarts and files differ from those of the wheels.
ON_IMAGES := tests/integration/test_outages.py tests/integration/test_issues_api.py tests/integration/test_envelope.py
test-containers: J = $(call processes,2)
.PHONY: test-containers
test-containers: $(VENV)/ready ## Run the tests of images, compose, and Kubernetes' containers, which need Docker
	@docker version >/dev/null || { echo "make test-containers: no Docker engine is reachable. Start Docker." >&2; exit 2; }
	@TEST_SERVERS=containers $(BIN)/pytest -n $(J) --dist loadgroup tests/containers $(ON_IMAGES)

.PHONY: scopes
scopes: $(VENV)/ready ## Request each operation of the API with a token of each scope, and print the statuses
	@$(BIN)/pytest -q -s tests/integration/test_scope_matrix.py

.PHONY: test-nightly
test-nightly: $(VENV)/ready $(VENV)/llm ## Run the long tests: upgrades, a real model, random inputs, and 60 rounds of chaos
	@HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -n $(J) --dist loadgroup -m "" \
		tests/upgrade tests/unit tests/integration/test_openapi_contract.py tests/integration/test_openai_endpoint.py
	@$(MAKE) --no-print-directory chaos ROUNDS=60 SEED=$$RANDOM

.PHONY: coverage
coverage: $(VENV)/ready ## Run the tests and report their line coverage; slower
	@$(BIN)/coverage erase
	@$(BIN)/pytest -n $(J) --dist loadgroup --cov --cov-report= $(T)
	@$(BIN)/coverage report

ROUNDS ?= 20
ISSUES ?= 500
SEED ?= 1
.PHONY: chaos
chaos: $(VENV)/ready ## Kill, stop and pause processes at random under load; ROUNDS=20 ISSUES=500 SEED=1
	@$(BIN)/python -m tests.chaos --rounds $(ROUNDS) --issues $(ISSUES) --seed $(SEED)

.PHONY: bench
bench: $(VENV)/bench/ready ## Measure beside a naive system and peers: 15 minutes; QUICK=1 3 minutes, OUT=file.json
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(BACKLOG),--backlog $(BACKLOG)) \
		$(if $(OUT),--out $(OUT)) $(if $(CHARTS),--charts $(CHARTS))

.PHONY: bench-guard
bench-guard: $(VENV)/ready ## Fail if a POST or a job became more expensive relative to the naive system: 2 minutes
	@$(BIN)/python -m benchmarks --guard

.PHONY: lint
lint: $(VENV)/ready prose ## Run ruff, mypy, the import rules, and the linters of Dockerfiles, workflows and docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PYTHONPATH=services/api:services/worker $(BIN)/lint-imports
	@$(BIN)/hadolint services/*/Dockerfile
	@$(BIN)/actionlint
	@$(BIN)/zizmor --quiet --offline --no-progress .github

# Not the lists of words that enrichment looks for, and not the tests, which contain issues in many languages.
PROSE := README.md CONTRIBUTING.md docs contracts/src cli/src devstack deploy benchmarks services/api services/flower \
	$(shell git ls-files services/worker 2>/dev/null | grep -v 'app/enrichment/\|requirements')
.PHONY: prose
prose: $(VENV)/ready ## Check words and links of README.md and docs, and the generated settings reference
	@$(BIN)/codespell $(PROSE)
	@$(BIN)/lychee --offline --include-fragments --no-progress --quiet README.md CONTRIBUTING.md CHANGELOG.md docs
	@PYTHONPATH=services/api:services/worker $(BIN)/python -m deploy.settings_reference --check

.PHONY: docs
docs: $(VENV)/docs/ready ## Build the documentation site into site/; a broken link or anchor fails
	@mkdir -p docs/javascripts
	@cp $(VENV)/docs/lib/python*/site-packages/mermaidx/assets/mermaid.js docs/javascripts/mermaid.min.js
	@$(VENV)/docs/bin/zensical build --strict --clean

.PHONY: manifests
manifests: $(VENV)/checkov/ready ## Render the Kubernetes manifests and scan them with checkov
	@rendered=$$(mktemp -d) && trap 'rm -r "$$rendered"' EXIT && \
		for overlay in deploy/k8s deploy/k8s/overlays/*; do \
			$(BIN)/kubectl kustomize $$overlay >"$$rendered/$${overlay##*/}.yaml" || exit; \
		done && \
		$(VENV)/checkov/bin/checkov --quiet --compact --skip-download --framework kubernetes --directory "$$rendered"

.PHONY: advisories
advisories: $(VENV)/audit/ready ## Search the locked dependencies for known vulnerabilities (needs pypi.org)
	@$(VENV)/audit/bin/pip-audit --progress-spinner off --disable-pip --require-hashes \
		$(addprefix --requirement requirements/,api.txt worker.txt flower.txt dev.txt llm.txt uv.txt)

.PHONY: format
format: $(VENV)/ready ## Format the code and sort imports
	@$(BIN)/ruff check --fix --exit-zero --quiet . >/dev/null
	@$(BIN)/ruff format .

TASK ?= types
.PHONY: evaluate
evaluate: $(VENV)/ready ## Evaluate the enrichment; TASK=types|types_more|areas|summary|similar|search|calibration TRAIN=FILE DATA=FILE
	@PYTHONPATH=services/worker:services/api $(BIN)/python -m evaluation $(TASK) $(if $(TRAIN),--train $(TRAIN)) --data $(or $(DATA),missing)

.PHONY: train
train: $(VENV)/ready ## Reproduce the enrichment's artefacts bit for bit; DATA=DIR (see evaluation/train.py)
	@PYTHONPATH=services/worker:services/api $(BIN)/python -m evaluation.train --data $(or $(DATA),missing)

##@ Maintain
.PHONY: dashboards
dashboards: $(VENV)/ready ## Generate the Grafana dashboards (deploy/grafana/dashboards/) from deploy/dashboards.py
	@$(BIN)/python -m deploy.dashboards

.PHONY: settings
settings: $(VENV)/ready ## Write docs/reference/settings.md from the settings classes
	@PYTHONPATH=services/api:services/worker $(BIN)/python -m deploy.settings_reference

.PHONY: schemas
schemas: $(VENV)/ready ## Generate the JSON Schemas of the messages (contracts/schemas/)
	@$(BIN)/python -m contracts.schemas contracts/schemas

.PHONY: rules
rules: $(VENV)/ready ## Generate the alert rules for Kubernetes from deploy/prometheus/rules
	@$(BIN)/python -m deploy.prometheus_rule

# requirements/overrides.in lists the excluded transitive dependencies, with reasons.
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-package issuetracker-contracts --overrides requirements/overrides.in
MEMBERS := contracts/pyproject.toml services/api/pyproject.toml services/worker/pyproject.toml services/flower/pyproject.toml \
	cli/pyproject.toml
.PHONY: lock
lock: $(VENV)/ready ## Lock the dependencies; UPGRADE=1 upgrades to newer versions
	@$(COMPILE) $(if $(UPGRADE),--upgrade) pyproject.toml $(MEMBERS) --group dev --output-file requirements/dev.txt
	@for service in api worker; do \
		$(COMPILE) --constraints requirements/dev.txt contracts/pyproject.toml services/$$service/pyproject.toml \
			--output-file requirements/$$service.txt; \
	done
	@$(COMPILE) pyproject.toml --group llm --constraints requirements/dev.txt --output-file requirements/llm.txt
	@$(COMPILE) --constraints requirements/dev.txt services/flower/pyproject.toml --output-file requirements/flower.txt
	@echo uv | $(COMPILE) --constraints requirements/dev.txt - --output-file requirements/uv.txt
	@echo checkov | $(COMPILE) - --output-file requirements/checkov.txt
	@echo pip-audit | $(COMPILE) - --output-file requirements/audit.txt
	@$(COMPILE) requirements/bench.in --output-file requirements/bench.txt
	@$(COMPILE) --overrides requirements/docs-overrides.in requirements/docs.in --output-file requirements/docs.txt

.PHONY: clean
clean: ## Delete the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready: requirements/dev.txt requirements/uv.txt contracts/pyproject.toml cli/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than Python 3.11. Set PYTHON=/path/to/python3 to a newer version." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "make: $(PYTHON) cannot create virtual environments. Install its venv package (Debian: python3-venv)." >&2; exit 2; }
	@{ mkdir -p $(VENV) && test -w $(VENV); } 2>/dev/null || { echo "make: cannot write to $(VENV) in $$PWD." \
		"Choose other directories: make run VENV=/tmp/venv LOCAL_DIR=/tmp/local" >&2; exit 2; }
	@echo "Setting up $(VENV) (once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable contracts --editable cli
	@touch $@

# Checkov has its own environment, because its dependencies would limit the versions of the project's dependencies.
$(VENV)/checkov/ready: requirements/checkov.txt $(VENV)/ready
	@$(UV) venv --quiet --clear $(VENV)/checkov
	@$(UV) pip install --quiet --python $(VENV)/checkov/bin/python --no-deps --require-hashes -r requirements/checkov.txt
	@touch $@

$(VENV)/audit/ready: requirements/audit.txt $(VENV)/ready
	@$(UV) venv --quiet --clear $(VENV)/audit
	@$(UV) pip install --quiet --python $(VENV)/audit/bin/python --no-deps --require-hashes -r requirements/audit.txt
	@touch $@

# The site generator and the tools' dependencies are independent of the project's.
$(VENV)/docs/ready: requirements/docs.txt $(VENV)/ready
	@$(UV) venv --quiet --clear $(VENV)/docs
	@$(UV) pip install --quiet --python $(VENV)/docs/bin/python --no-deps --require-hashes -r requirements/docs.txt
	@touch $@

# The peers' dependencies are independent of the project's too.
$(VENV)/bench/ready: requirements/bench.txt $(VENV)/ready
	@$(UV) venv --quiet --clear $(VENV)/bench
	@$(UV) pip install --quiet --python $(VENV)/bench/bin/python --no-deps --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/llm: requirements/llm.txt $(VENV)/ready
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/llm.txt
	@touch $@
