# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

PLAN ?= plans/demo.yml
PYTHON ?= python3
RACKSTEAD := .venv/bin/rackstead
PIPELINE := .venv/bin/python -m tests.tools.pipeline

export LC_ALL := C.UTF-8
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo venv venv.test check test test-kubernetes bench pictures clean \
  incus.init env.apply env.status env.health env.snapshot env.start env.stop env.logs env.destroy

help: ## this list
	@grep -E '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):.*## (.*)/  \1\t\2/' | expand -t 18
	@echo '  PLAN=FILE names another plan than $(PLAN)'

demo: venv ## from an empty machine to the demo plan, running: set up, init, apply, status
	@$(RACKSTEAD) init
	@$(RACKSTEAD) apply $(PLAN)
	@$(RACKSTEAD) status

venv: ## .venv with the command line and the collection
	@tests/tools/venv.sh run

venv.test: ## the same, with the tools of check and test
	@tests/tools/venv.sh test

check: venv.test ## quick: lint, types, changelog, unit tests
	@$(PIPELINE) check

test: venv.test ## everything that CI runs
	@$(PIPELINE) test

test-kubernetes: venv.test ## what runs on a real Kubernetes; builds it first, once, from Debian's source
	@.venv/bin/python -m tests.testbed.kubebuild
	@$(PIPELINE) kubernetes

bench: venv.test ## speed beside other tools and beside the provider's own floor
	@.venv/bin/python -m tests.benchmarks $(BENCH)

pictures: venv.test ## the pictures in README and guides, from a real run; needs tmux
	@PATH=$(CURDIR)/.venv/bin:$(PATH) .venv/bin/python tests/tools/pictures.py

clean: ## remove .venv and the caches in this checkout
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .ansible dist

incus.init: venv ## install and initialise Incus
	@$(RACKSTEAD) init

env.apply: venv ## apply PLAN
	@$(RACKSTEAD) apply $(PLAN)

env.status: venv ## a table of the instances
	@$(RACKSTEAD) status

env.health: venv ## is the provider well, are the instances?
	@$(RACKSTEAD) health

env.snapshot: venv ## a snapshot of every instance of PLAN
	@$(RACKSTEAD) snapshot --plan $(PLAN)

env.start: venv ## start what PLAN names
	@$(RACKSTEAD) start --plan $(PLAN)

env.stop: venv ## stop what PLAN names
	@$(RACKSTEAD) stop --plan $(PLAN)

env.logs: venv ## the logs of what PLAN names
	@$(RACKSTEAD) logs --plan $(PLAN)

env.destroy: venv ## remove what PLAN made; asks first, or CONFIRM=true
	@$(RACKSTEAD) destroy --plan $(PLAN) $(if $(filter true,$(CONFIRM)),--yes)
