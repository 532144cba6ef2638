# One command for people and for machines: CI calls these targets too.
# Each target does its own set-up; `make up` on a fresh clone needs Python 3.11+ and nothing else.

PYTHON ?= python3
PY := .venv/bin/python
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Set-up is done again when the locked requirements change; an interrupted one leaves no stamp.
.venv/ready: requirements/dev.txt local/venv.py $(wildcard gate/pyproject.toml engine/pyproject.toml)
	@$(PYTHON) local/venv.py

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: .venv/ready ## Start PostgreSQL, run the migrator, then the app on http://127.0.0.1:8000 (PORT=)
	@exec $(PY) -m local up

.PHONY: reset
reset: .venv/ready ## Throw the local database away
	@exec $(PY) -m local reset

.PHONY: status
status: .venv/ready ## Show where the running local database is, and what is pending
	@exec $(PY) -m local run -- $(PY) -m migrator status

.PHONY: migration
migration: .venv/ready ## Write a revision from the models: make migration m="add phone number"
	@if [ -z "$$m" ]; then echo 'error: say what changes: make migration m="add phone number"' >&2; exit 2; fi; \
	exec $(PY) -m migrator revision -m "$$m"

.PHONY: story
story: .venv/ready ## Show two deploys under load, step by step, on a database of their own
	@exec $(PY) -m local.story

# Several workers for the whole suite; one process, with its output as it comes, for a file or a name.
workers = $(if $(or $(findstring tests/,$(args)),$(filter -k -k% --pdb,$(args))),,-n auto)

.PHONY: test
test: .venv/ready ## Run the tests on a real PostgreSQL (args="-k name" narrows them)
	@exec $(PY) -m pytest $(workers) $(args)

.PHONY: torture
torture: .venv/ready ## Kill, cut off and stop the migrator at every point of every kind of run; takes an hour or two (args="--kind mixed")
	@exec $(PY) -m tests.torture $(args)

.PHONY: torture-quick
torture-quick: .venv/ready ## The same for a sample of every kind, in minutes
	@exec $(PY) -m tests.torture --sample 40 --workers 3 $(args)

.PHONY: rehearse
rehearse: .venv/ready ## Rehearse the pending revisions on a throw-away PostgreSQL (args="--from REV --html FILE")
	@exec $(PY) -m migrator rehearse $(args)

.PHONY: rules
rules: .venv/ready ## Write docs/rules.md from the rules of the rehearsal
	@exec $(PY) -m lockstep.develop.rehearsal.formats.rules > docs/rules.md

.PHONY: bench-rules
bench-rules: .venv/ready ## Compare the rehearsal's findings, squawk's, and what a server does, on a table of statements
	@exec $(PY) -m benchmarks.rules

.PHONY: bench-pairs
bench-pairs: .venv/ready ## Measure how long clients wait while what autogenerate wrote is applied, for every pair of models
	@exec $(PY) -m benchmarks.pairs

.PHONY: bench-backfill
bench-backfill: .venv/ready ## Fill a column under load, against one UPDATE (ROWS=5000000)
	@exec $(PY) benchmarks/backfill.py $(or $(ROWS),500000)

.PHONY: bench
bench: .venv/ready ## Measure beside other tools, and keep each table in benchmarks/RESULTS.md (only=fresh,noop-500 for some)
	@$(PY) -m benchmarks.speed --write --only "$(only)"

.PHONY: bench-quick
bench-quick: .venv/ready ## The same in short: nothing to do, a round trip of 20 ms, a fresh database, a small backfill
	@$(PY) -m benchmarks.speed --quick
	@$(PY) benchmarks/backfill.py 100000

.PHONY: check
check: .venv/ready ## Lint, format check and declared layers
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports

.PHONY: dist
dist: .venv/ready ## Build the wheels and source distributions that others install, into dist/
	@for part in $(patsubst %/pyproject.toml,%,$(wildcard gate/pyproject.toml engine/pyproject.toml)); do \
		$(PY) -m build --no-isolation --outdir dist $$part || exit 1; done

.PHONY: audit
audit: .venv/ready ## Ask for known vulnerabilities of what is pinned; says "not audited" where the service is away
	@.ci/audit

.PHONY: format
format: .venv/ready ## Format the code
	@$(PY) -m ruff check --select I --fix .
	@$(PY) -m ruff format .

LOCK = $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(upgrade)

.PHONY: lock
lock: .venv/ready ## Pin requirements/*.in with hashes (upgrade="--upgrade" takes newer versions)
	@$(LOCK) requirements/app.in -o requirements/app.txt
	@$(LOCK) requirements/migrator.in -o requirements/migrator.txt
	@$(LOCK) requirements/build.in -o requirements/build.txt
	@$(LOCK) requirements/dev.in -o requirements/dev.txt
