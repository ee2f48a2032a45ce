# Every target makes its own environment first: a `.venv` from the locked, hashed requirements. Nothing else is needed
# than make and a Python ≥ 3.11; `make PYTHON=/path/to/python3` chooses one.

SHELL := /bin/sh
# Where a container's image switches Python's cache off (PYTHONDONTWRITEBYTECODE), each worker of pytest would rewrite 835 modules
# on each run, 11 of 19 s until its first test, and each process that a test starts compile 300, 0.3 s.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help demo dev test test-slow schema test-postgres sdk fuzz histories hostile kill-test chaos faults simulate mutants siege check bench bench-peers retention polling example lock clean

LOCK    := deploy/requirements-dev.txt
VENV    := .venv
READY   := $(VENV)/ready
PYTHONS := python3.13 python3.12 python3.11 python3 python
ARGS    :=

# A name on the PATH is not yet a Python: version switchers leave stubs that only print an error, and some systems split
# venv, ensurepip or sqlite3 off into packages of their own. So each candidate must import what is needed.
USABLE  := import ensurepip, sqlite3, ssl, sys, venv; sys.exit(sys.version_info < (3, 11) or sqlite3.sqlite_version_info < (3, 37))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## the whole thing on this machine: no account, nothing is paid (KILL=1 with twenty times kill -9, SEED=7 for the same again)
	@$(VENV)/bin/taskrelay demo $(if $(filter-out 0,$(KILL)),--kill) $(if $(SEED),--seed $(SEED)) $(ARGS)

dev: $(READY) ## the same to develop against: stays up until Ctrl-C, keeps its tasks (ARGS="--fresh" empties it)
	@$(VENV)/bin/taskrelay dev $(ARGS)

test: $(READY) ## every test but the slow ones (make test ARGS="-k lanes" for some)
	@$(VENV)/bin/pytest -n auto --dist loadfile -m "not slow" $(ARGS)

test-slow: $(READY) ## the slow ones: kills, full disks, stops, the demo, receivers in three languages, a browser; needs node, npm, go and a Chromium
	@$(VENV)/bin/pytest -n auto --dist loadfile --no-loadscope-reorder -m slow $(ARGS)

# SQLite's own tests among these are skipped, and the last line counts them.
test-postgres: $(READY) ## the service's suites and the end-to-end ones on a real PostgreSQL: minutes (TEST_POSTGRES_URL for a server of yours, as its superuser)
	@TEST_ENGINE=postgres $(VENV)/bin/pytest -n 2 --dist loadfile -m "not slow" tests/service/pipeline tests/service/api $(ARGS)
	@TEST_ENGINE=postgres $(VENV)/bin/pytest -n 4 --dist loadfile -m "not postgres" tests/e2e $(ARGS)

FUZZED  := tests/service/providers/test_fuzz.py tests/service/api/test_door_fuzz.py tests/service/api/test_any_json.py tests/service/core/test_order.py tests/service/pipeline/test_order.py \
           tests/service/pipeline/test_order_two.py tests/service/pipeline/test_replay.py tests/service/core/test_lifecycle.py \
           tests/service/core/test_tokens.py tests/service/core/test_signature.py tests/service/core/test_schedule.py tests/service/providers/test_reading.py

sdk: $(READY) ## the published SDKs of OpenAI, 2.x and 3.x and for Node, against a live service: minutes; fetches them into build/ once
	@$(VENV)/bin/pytest -n auto --dist loadfile -m slow tests/sdk $(ARGS)

fuzz: $(READY) ## ten thousand mutated answers, hostile pushes, bodies with any value anywhere and orders of events, of each kind: minutes (EXAMPLES=1000 for fewer)
	@HYPOTHESIS_PROFILE=$(or $(PROFILE),explore) FUZZ_EXAMPLES=$(or $(EXAMPLES),10000) $(VENV)/bin/pytest -n auto -o timeout=7200 $(FUZZED) $(ARGS)

schema: $(READY) ## a live service against its OpenAPI document, by schemathesis: minutes (EXAMPLES=10 for fewer, SEED=7 for others)
	@$(VENV)/bin/python -m tests.schema --examples $(or $(EXAMPLES),50) --seed $(or $(SEED),1) $(ARGS)

kill-test: $(READY) ## a thousand times kill -9, at every fail-point and at any moment: minutes (N=100 for fewer, SEED=7 for the same again, DATABASE=postgres, REPLICAS=2)
	@N='$(N)' SEED='$(SEED)' JOBS='$(JOBS)' KINDS='$(KINDS)' DATABASE='$(DATABASE)' REPLICAS='$(REPLICAS)' \
	  $(VENV)/bin/python -m tests.kill $(ARGS)

chaos: $(READY) ## three replicas on one PostgreSQL under load, killed, paused, restarted, cut off: a quarter of an hour (SECONDS=60 EVENTS=20000 for a short one)
	@SECONDS='$(SECONDS)' SEED='$(SEED)' PER_SECOND='$(PER_SECOND)' PHASES='$(PHASES)' ROLES='$(ROLES)' $(VENV)/bin/python -m tests.chaos $(ARGS)
	@$(VENV)/bin/python -m tests.chaos.feed --events $(or $(EVENTS),1000000)

SWEEPS  := tests/faults/sweep_full.py tests/faults/sweep_sync.py tests/faults/sweep_clients.py tests/faults/sweep_traced.py

faults: $(READY) ## full disks, failed syncs, locks, stuck clients, one system call after another: minutes; needs strace and a mount namespace
	@FAULT_WRITES=$(or $(WRITES),300) FAULT_SYNCS=$(or $(SYNCS),50) FAULT_TRACED=$(or $(TRACED),30) FAULT_ANSWERS=$(or $(ANSWERS),1000) \
	  $(VENV)/bin/pytest -n auto $(SWEEPS) $(ARGS)

simulate: $(READY) ## the whole service on virtual time, a thousand seeds of faults: minutes (SEEDS=100 for fewer, FIRST=5000 for others)
	@$(VENV)/bin/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

hostile: $(READY) ## a subscriber that does everything it must not, case by case, and whom the service calls meanwhile: a minute; needs strace
	@$(VENV)/bin/python -m tests.hostile $(ARGS)

siege: $(READY) ## a thousand clients that never finish, bombs and floods, each alone and all at once, beside well-behaved ones: minutes (SECONDS=4 for a short one)
	@$(VENV)/bin/python -m tests.siege $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

histories: $(READY) ## record the corpus of histories anew, on purpose: read what changed before it is kept (ARGS="end-pushed" for some)
	@$(VENV)/bin/python -m tests.histories $(ARGS)

mutants: $(READY) ## plant 30 classic bugs in copies of the source: each must turn a test red (ARGS="no-fence" for some)
	@$(VENV)/bin/python -m tests.mutants $(ARGS)

check: $(READY) ## formatting, lint, types
	@$(VENV)/bin/ruff format --check --quiet . || { echo 'Not formatted; to mend it: $(VENV)/bin/ruff format .'; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy

retention: $(READY) ## callbacks while a million rows are taken away, and the size of the file: minutes (ROWS=100000 for fewer)
	@$(VENV)/bin/python -m tests.bench.keeping --rows $(or $(ROWS),1000000) $(ARGS)

bench: $(READY) ## throughput and latency of this build
	@$(VENV)/bin/python -m tests.bench $(ARGS)

bench-peers: $(READY) ## the same deliveries by Celery, dramatiq, taskiq and BullMQ: minutes; fetches them and Redis into build/ once
	@$(VENV)/bin/python -m tests.bench.peers $(ARGS)

polling: $(READY) ## how often a provider without pushes is asked, and how late its ends are known: a minute
	@$(VENV)/bin/python -m tests.polling $(ARGS)

example: $(READY) ## write deploy/service.env.example from the settings again
	@mkdir -p build; $(VENV)/bin/python -m service.settings.example >build/service.env && mv build/service.env deploy/service.env.example

clean: ## remove the environment, caches and what the demo left
	@rm -rf $(VENV) .demo .taskrelay-dev .ci/logs .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find service storage tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever the lock or the metadata changed, so that nothing the lock no longer names stays behind. pip is the
# one Python brought along; it is neither upgraded nor asked for anything without a hash. Progress goes to a file, which
# is shown when something fails.
$(READY): $(LOCK) pyproject.toml
	@python=''; \
	for candidate in $(or $(PYTHON),$(PYTHONS)); do \
	  if "$$candidate" -c '$(USABLE)' >/dev/null 2>&1; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'No usable Python found (tried: $(or $(PYTHON),$(PYTHONS))).' >&2; \
	  echo 'taskrelay needs Python 3.11 or later with venv and SQLite 3.37 or later. On Debian or Ubuntu: apt install python3-venv.' >&2; \
	  echo 'If it has another name: make PYTHON=/path/to/python3' >&2; \
	  exit 1; \
	fi; \
	echo "Preparing $(VENV) with $$("$$python" -c 'import platform, sys; print("Python", platform.python_version(), sys.executable)') ..."; \
	rm -rf $(VENV); mkdir -p $(VENV); log=$(VENV)/install.log; \
	{ "$$python" -m venv $(VENV) \
	  && $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes -r $(LOCK) \
	  && $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --no-build-isolation -e . ; \
	} >"$$log" 2>&1 || { cat "$$log" >&2; echo "Could not prepare $(VENV); what pip said stands above and in $$log." >&2; exit 1; }
	@touch $(READY)

# For maintainers. Resolved on the oldest supported Python, whose needs include those of the later ones; hashes are those
# of every file of a release, so one lock serves Linux on x86-64 and ARM (and macOS). pip-tools stays out of the lock
# because it would pull pip itself into every environment.
LOCKER  := build/lock
COMPILE := CUSTOM_COMPILE_COMMAND='make lock' $(LOCKER)/bin/pip-compile --quiet --generate-hashes --strip-extras \
           --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options
EXTRAS  := --extra demo --extra postgres --extra traces

lock: ## resolve and pin the dependencies again (make lock UPGRADE=--upgrade for newer ones)
	@python3.11 -m venv --clear $(LOCKER)
	@$(LOCKER)/bin/python -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2
	@$(LOCKER)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' >build/dev.in
	@$(LOCKER)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' >build/build.in
	@$(COMPILE) $(EXTRAS) $(UPGRADE) --output-file deploy/requirements-dev.txt pyproject.toml build/dev.in
	@$(COMPILE) $(EXTRAS) $(UPGRADE) --constraint deploy/requirements-dev.txt --output-file deploy/requirements.txt pyproject.toml
	@$(COMPILE) $(UPGRADE) --constraint deploy/requirements-dev.txt --output-file deploy/requirements-build.txt build/build.in
	@for lock in requirements requirements-build; do \
	  sed '/^    #   -c /d' deploy/$$lock.txt >build/locked && mv build/locked deploy/$$lock.txt; \
	done
	@for major in 2 3; do \
	  echo "openai>=$$major,<$$((major + 1))" >build/openai.in; \
	  $(COMPILE) $(UPGRADE) --no-annotate --output-file tests/sdk/requirements-openai-$$major.txt build/openai.in; \
	done
	@grep -c '==' deploy/requirements-dev.txt deploy/requirements.txt deploy/requirements-build.txt
