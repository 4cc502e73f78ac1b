# Start with `make demo` or `make test`; both create `.venv` first. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements.lock
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
# Each worker has a Postgres of its own: more than four only get in each other's way.
PARALLEL ?= -n auto --maxprocesses 4
# uv must trust the machine's certificate store and must never download an interpreter.
export UV_SYSTEM_CERTS := 1
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1

.PHONY: mutants generate second-list ci-long help setup demo dashboard docs test check test-oldest test-wheel sdk-suites emitters-together bench bench-alerts bench-answers bench-budgets bench-dashboard bench-forecast screenshots hostile faults collector broker node-sender languages phoenix jaeger many-spans grafana lock clean
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.ready ## Make .venv from the hash-pinned lock.

$(VENV)/.ready: $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "TokenLedger needs Python 3.10 or newer: make PYTHON=/path/to/python3")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "this Python cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv) or run make PYTHON=/path/to/python3"; exit 1; }
	@echo "==> making $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "==> installing uv $(UV_VERSION)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@echo "==> installing what $(LOCK) pins"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# The demo needs no development tools; it uses .venv if that exists.
DEMO_VENV := $(if $(wildcard .venv/.ready),.venv,.venv-demo)
DEMO_LOCK := $(if $(wildcard .venv/.ready),requirements.lock,requirements.demo.lock)
demo: ## Run a sample app against a temporary Postgres and print its cost.
	@$(MAKE) --no-print-directory setup VENV=$(DEMO_VENV) LOCK=$(DEMO_LOCK)
	@$(DEMO_VENV)/bin/tokenledger demo

dashboard: setup ## Look at the ledger of TOKENLEDGER_DATABASE_URL in a browser, or at sample data.
	@$(BIN)/tokenledger dashboard

docs: setup ## Build the documentation site into build/site; broken links and stale pictures fail.
	@$(BIN)/python -m scripts.reference build/reference
	@$(BIN)/zensical build --clean --strict

test: check test-oldest test-wheel ## Everything CI runs.

check: setup ## Format, lint, types, imports, documentation, tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs
	$(BIN)/pytest $(PARALLEL)

test-oldest: ## The call paths again, with the oldest supported SDK majors.
	@$(MAKE) --no-print-directory setup VENV=.venv-oldest LOCK=requirements.oldest.lock
	.venv-oldest/bin/pytest $(PARALLEL) tests/instrumentation tests/end_to_end/test_recorded_traffic.py

bench: setup ## Benchmarks against our targets and against other tools, which it downloads.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks $(ROUNDS)
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.open_calls
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.write_path
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.service
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.scale
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.peer_calls $(ROUNDS)

ROWS ?= 3000000
QUERY_SECONDS ?= 60
SUMS ?= 0
bench-answers: setup ## Query latency over ROWS calls under write load, QUERY_SECONDS per query; takes minutes.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.answers $(ROWS) $(QUERY_SECONDS) $(SUMS)

ALERT_WEEKS ?= 10000
bench-alerts: setup ## Alerts on unusual spend over ALERT_WEEKS generated weeks: spikes found, false alarms; takes minutes.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.alerts $(ALERT_WEEKS)

bench-budgets: setup ## Overspend, false refusals, time per call and writers with budgets; SCALE=0.1 is quick, 1 takes minutes.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.budgets $(SCALE)

bench-forecast: setup ## Month-end forecasts of generated traffic and of the sample ledger; takes minutes.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.forecast

screenshots: setup ## Take the pictures of the dashboard in docs/assets; needs Chromium.
	@PYTHONPATH=. $(BIN)/python -m scripts.take_screenshots

VIEW_SECONDS ?= 60
bench-dashboard: setup ## The dashboard over ROWS calls under write load: page, filters, API, viewers; needs Chromium, takes minutes.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.dashboard $(ROWS) $(VIEW_SECONDS)

ATTACKS ?=
hostile: setup ## A well-behaved sender together with each hostile one: rejections, p99, memory. ATTACKS= selects; takes minutes.
	@PYTHONPATH=.:tests $(BIN)/python -W ignore -m benchmarks.hostile 10 $(ATTACKS)

SEED ?=
CASES ?=
faults: setup ## Kill, cut and fill the disk: no billed call is lost. SEED= replays, CASES= picks.
	@cd tests && ../$(BIN)/python -W ignore -m faults $(if $(SEED),--seed $(SEED)) $(if $(CASES),--cases "$(CASES)")

COLLECTOR := collector-config/build/otelcol
COLLECTOR_BUILDER := go.opentelemetry.io/collector/cmd/builder@v0.155.0
export GOFLAGS := -buildvcs=false
collector: $(COLLECTOR) ## Build the OpenTelemetry Collector that collector-config/ runs on (needs Go).

# The builder's own `go mod tidy` stops at modules that nothing but other modules' tests need: what it
# fetches is fetched again here, without them (-e), and the compiler says if one is missing.
$(COLLECTOR): collector-config/builder.yaml
	@command -v go >/dev/null || { echo "no Go here: install it, or put a Collector's otelcol on PATH; without one the pipeline tests are skipped"; exit 1; }
	@echo "==> writing the Collector's sources"
	@cd collector-config && go run $(COLLECTOR_BUILDER) --config builder.yaml --skip-compilation >builder.log 2>&1 || test -f build/go.mod || { cat builder.log; exit 1; }
	@rm collector-config/builder.log
	@cd collector-config/build && go mod tidy -e 2>/dev/null || true
	@echo "==> compiling it: minutes the first time"
	@cd collector-config/build && go build -trimpath -ldflags="-s -w" -o otelcol .

broker: build/kafka ## Fetch the Kafka broker of the pipeline tests (needs Java and Maven).

build/kafka: tests/collectors/kafka/pom.xml
	@mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$@
	@touch $@

SPANS ?= 1000000
many-spans: setup collector ## A million spans through a Collector that is killed midway: one row each. SPANS= how many.
	@cd tests && ../$(BIN)/python -W ignore -m collectors.many --spans $(SPANS)

grafana: setup ## Write the dashboards of collector-config/grafana from code.
	$(BIN)/python collector-config/grafana/generate.py

node-sender: tests/collectors/node/node_modules ## Install Vercel's AI SDK, a sender of the tests (needs Node and npm).

tests/collectors/node/node_modules: tests/collectors/node/package-lock.json
	@cd tests/collectors/node && npm ci --silent --no-audit --no-fund
	@touch $@

languages: setup ## Build the examples in Node, TypeScript, Java and Go, as far as these are here, and run them.
	@for language in node typescript java go; do \
		command -v $${language/typescript/node} >/dev/null || { echo "no $$language here: its example is skipped"; continue; }; \
		mkdir -p build/languages && rm -rf build/languages/$$language.new && cp -r examples/any-language/$$language build/languages/$$language.new || exit 1; \
		( cd build/languages/$$language.new && case $$language in \
			node) npm ci --silent --no-audit --no-fund --ignore-scripts;; \
			typescript) npm ci --silent --no-audit --no-fund --ignore-scripts && npm run --silent build;; \
			java) mvn -q -B package;; \
			go) go build -trimpath -o app .;; \
		esac ) || { echo "the $$language example cannot be built here: it is skipped" >&2; rm -rf build/languages/$$language.new; continue; }; \
		rm -rf build/languages/$$language && mv build/languages/$$language.new build/languages/$$language; \
	done
	$(BIN)/pytest -rs tests/end_to_end/test_languages.py tests/end_to_end/test_budgets_in_typescript.py

phoenix: .venv-phoenix/.ready ## Install Arize Phoenix, a tracing UI of the tests, in an environment of its own.

.venv-phoenix/.ready: $(VENV)/.ready tests/collectors/phoenix.lock
	@test -x .venv-phoenix/bin/python || $(PYTHON) -m venv .venv-phoenix
	@$(BIN)/uv pip sync --quiet --python .venv-phoenix/bin/python --require-hashes tests/collectors/phoenix.lock
	@touch $@

jaeger: build/jaeger/jaeger ## Build Jaeger, a tracing UI of the tests (needs Go).

build/jaeger/jaeger: tests/collectors/jaeger/go.mod tests/collectors/jaeger/go.sum
	@mkdir -p build/jaeger
	@echo "==> compiling Jaeger: minutes the first time"
	@cd tests/collectors/jaeger && go build -trimpath -ldflags="-s -w" -o $(CURDIR)/$@ github.com/jaegertracing/jaeger/cmd/jaeger

test-wheel: setup ## Quick start and zero-code launch from the built wheel in an empty environment.
	$(BIN)/pytest -m wheel

sdk-suites: setup ## The SDKs' own offline tests, bare and patched; downloads them.
	$(BIN)/python tests/sdk_suites

emitters-together: setup ## Other instrumentations together with ours: each call is one row; downloads them.
	$(BIN)/python tests/emitters_together

MODULES ?=
mutants: ## Change the code of each money module in every small way: a test must notice. MODULES= picks; takes an hour.
	@$(MAKE) --no-print-directory setup VENV=.venv-mutants LOCK=tests/mutants/requirements.lock
	@PYTHONPATH=tests .venv-mutants/bin/python -m mutants $(MODULES)

generate: setup ## Write what is generated from code: the sync query client, the pictures of the rooms.
	$(BIN)/python -m scripts.generate_sync_client
	$(BIN)/python -m scripts.draw_rooms

second-list: setup ## Prices that LiteLLM's newest list disagrees about: each must have been judged; downloads the list.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --upgrade --target build/second-list litellm
	@PYTHONPATH=build/second-list $(BIN)/tokenledger prices doubt

ci-long: second-list faults sdk-suites emitters-together languages mutants many-spans hostile bench ## What CI has no time for: long faults, SDK suites, other languages, a million spans, attacks, benchmarks; takes hours.

lock: ## Resolve the locks again; no difference means no drift.
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --extra all --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --extra all --group dev --constraint requirements.oldest.in pyproject.toml -o requirements.oldest.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --extra embedded --extra openai --extra anthropic --group demo --constraint requirements.lock pyproject.toml -o requirements.demo.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --extra all --group mutants --constraint requirements.lock pyproject.toml -o tests/mutants/requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --extra server --extra dashboard pyproject.toml -o collector-config/requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate collector-config/build.in -o collector-config/build.lock

clean: ## Remove what the other targets made.
	rm -rf .venv .venv-demo .venv-oldest .venv-phoenix .venv-mutants .cache dist build collector-config/build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
