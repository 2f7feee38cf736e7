# make run    a whole hookd on this machine: Postgres, a receiver, events flowing (ARGS=--exit to stop by itself)
# make test   every test, in parallel
# make faults the tests that kill, cut and flood the daemon, at full size and one at a time (about 8 minutes);
#             ARGS="--schedules 300 --seed 1": so many random schedules of faults instead, from that seed on
# make histories  2,000 random histories of the queue against a model, and broken SQL that they must find (an hour;
#             ARGS="-k agree": the former alone)
# make check  format, lint, types, imports, docs, units
# make docs   the documentation as a site, in build/docs, with all links checked (the first time it installs Sphinx)
# make contract  linters, generated clients in Python, TypeScript and Go, and Schemathesis against a whole hookd, over its
#             OpenAPI document; axe-core over /docs (about ten minutes; ARGS="--only clients": these alone)
# make interop   the snippets of docs/how-to/verify.md, in seven languages, against real deliveries (two minutes)
# make release  what is released, a source distribution and a wheel, into dist/; the same bytes wherever it is built
# make bench  all benchmarks (ARGS=drain, or "drain --runs 3": one)
# make lock   requirements.lock anew, from pyproject.toml, and those of `make contract` and `make docs`
# make clean  remove what these made
#
# All but `lock` and `clean` need only Python 3.11 to 3.13, and make .venv first (PYTHON=… picks the interpreter).

BIN := .venv/bin

.PHONY: help setup run test faults histories contract interop check docs release bench lock clean

help:
	@sed -n 's/^# //p' Makefile

setup:
	@tools/setup.sh

run: setup
	@exec $(BIN)/hookd dev $(ARGS)

# Two for each processor: half of the time a test waits for a daemon, a server or a clock. Each has its own databases.
test: setup
	@$(BIN)/python -m pytest --numprocesses $$((2 * $$(nproc))) --maxprocesses 8 --dist worksteal $(ARGS)

faults: setup
ifneq (,$(findstring --seed,$(ARGS))$(findstring --schedules,$(ARGS)))
	@$(BIN)/python -m tests.faults.schedules $(ARGS)
else
	@HOOKD_FAULTS=full $(BIN)/python -m pytest -n 0 -s tests/faults $(ARGS)
endif

histories: setup
	@HOOKD_HISTORIES=2000 $(BIN)/python -m pytest -n 0 -s tests/integration/store/test_queue_state_machine.py $(ARGS)

contract: setup
	@tools/setup_contract.sh
	@$(BIN)/python -m tests.contract $(ARGS)

interop: setup
	@$(BIN)/python -m tests.interop $(ARGS)

check: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.check_readme README.md docs
	tools/check_units.sh
	$(BIN)/python -m tools.check_plpgsql

docs: setup
	@tools/setup_docs.sh
	@.venv-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going --nitpicky -d build/doctrees docs build/docs
	@$(BIN)/python -m tools.check_site build/docs

release: setup
	@$(BIN)/python -m tools.release

bench: setup
	@$(BIN)/python -m bench $(or $(ARGS),all)

lock:
	@tools/lock.sh

clean:
	rm -rf .venv .venv-contract .venv-docs build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
