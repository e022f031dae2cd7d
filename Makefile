# make run     start the daemon on 127.0.0.1:7420 with its data in ./data (PORT and DATA: others)
# make demo    a chat with five devices, and feeds: what each device and each reader is told
# make test    every check and every test, under five minutes on two cores
# make lint    the checks alone
# make bench   measure against redis-server and print the table
# Each first builds .venv from pyproject.toml when that has changed, and installs nothing elsewhere;
# and compiles the hot modules where there is a C compiler. COMPILE=0 leaves them interpreted.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV  := .venv
BUILT := $(VENV)/built
HOST  := 127.0.0.1
PORT  ?= 7420
DATA  ?= data

# What setup.py compiles: empty is what can be, 0 nothing, 1 all or fail.
COMPILE :=
export TIMELINE_COMPILE := $(COMPILE)

# How many processes the tests share; 0 runs them in one, which a debugger likes.
WORKERS := 2
PYTEST_ARGS :=
BENCH_ARGS :=

.PHONY: help run demo test lint bench compile

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

# The first Python of at least 3.11 that runs and can make virtual environments.
$(BUILT): pyproject.toml
	@for python in $${PYTHON:-} python3 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo 'Python 3.11 or newer with the venv module is needed (Debian: apt install python3-venv).' >&2; \
	  exit 1; \
	fi; \
	echo "building $(VENV) with $$("$$found" --version), which takes a minute or more"; \
	$(VENV)/bin/python -c 'import pip' 2>/dev/null || "$$found" -m venv --clear $(VENV); \
	TIMELINE_COMPILE=0 $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[dev]'
	@touch $@

# The sums of the files tell whether what is compiled is of these, so a checkout's times do not
# matter. It says what it does, and nothing when there is nothing to do.
compile: $(BUILT)
	@$(VENV)/bin/python setup.py --quiet build_ext --inplace

# The daemon says `ready on …` itself; behind that comes the line to paste. It replaces the shell,
# so that it is make's own child: Ctrl-C reaches it from a terminal, and make hands SIGTERM on.
# Where it advises another --port, make's own word for that is PORT.
run: compile
	@if command -v redis-cli >/dev/null; \
	then cli="redis-cli -p $(PORT)"; \
	  hint="$$cli CONV.CREATE team alice MEMBERS 1 bob && $$cli CONV.SEND team alice '*' text 'first message'"; \
	else cli="import redis; call = redis.Redis(port=$(PORT)).execute_command"; \
	  hint="$(VENV)/bin/python -c \"$$cli; call('CONV.CREATE', 'team', 'alice', 'MEMBERS', 1, 'bob'); print(call('CONV.SEND', 'team', 'alice', '*', 'text', 'first message'))\""; \
	fi; \
	exec $(VENV)/bin/timelined --data $(DATA) --host $(HOST) --port $(PORT) > >( \
	  trap '' INT TERM; \
	  while IFS= read -r line; do \
	    printf '%s\n' "$$line"; \
	    case $$line in 'ready on '*) printf 'Send a first message from another shell:\n%s\n' "$$hint";; esac; \
	  done) \
	  2> >(trap '' INT TERM; exec sed --unbuffered 's/another with --port (0 .*)$$/another: make run PORT=…/' >&2)

# A scene of some seconds against a daemon of its own, which ends with it.
demo: compile
	@$(VENV)/bin/python docs/examples/demo.py

lint: $(BUILT)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# Tests start programs a hundred times, which need not be compiled each time.
test: lint compile
	env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/pytest --numprocesses $(WORKERS) $(PYTEST_ARGS)

bench: compile
	$(VENV)/bin/pytest bench --quiet --benchmark-enable --benchmark-only \
	  --benchmark-columns=median,iqr,rounds --benchmark-sort=fullname $(PYTEST_ARGS)
	$(VENV)/bin/python -m bench.streams $(BENCH_ARGS)
	$(VENV)/bin/python -m bench.sealing
	$(VENV)/bin/python -m bench.conversations
	$(VENV)/bin/python -m bench.feeds
	$(VENV)/bin/python -m bench.pushes
