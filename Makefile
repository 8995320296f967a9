# make            install what composer needs, and composer into .venv
# make demo       build examples/shop, bring it up, ask it something, bring it down
# make test       lint, types, the whole test suite
# make kill-storm  kill processes of ours at random moments, KILLS times (200), from the seed KILLS_SEED (0)
# make vm-test    the tests of cgroups in a machine that has the unified hierarchy (VM_RUN boots one; skipped without)
# make firewall-test  published ports beside Debian's real ufw and firewalld
# make distro-test  make demo, and examples/hello as an ordinary user, on each distribution that README names (DISTROS)
# make programs   compile the C programs of the keeper again, after a change to one
# make bench      compare with Docker Compose, when there is one (DOCKER_HOST is honoured)
# make clean      remove what the other targets made here; asks before it removes the examples' images and volumes, too

COMPOSER := .venv/bin/composer
BENCH := composer=$(COMPOSER) $(if $(shell docker compose version 2>/dev/null),docker="docker compose")

.PHONY: all demo base-images test kill-storm vm-test distro-test firewall-test lint format programs bench clean

all:
	@scripts/prepare

demo: base-images
	@scripts/demo

base-images:
	@scripts/prepare examples
	@examples/base/make-rootfs busybox debian
	@$(COMPOSER) --progress quiet -f examples/base/compose.yaml build > /dev/null

test: lint
	.venv/bin/python -m pytest $(PYTEST)

kill-storm:
	@scripts/prepare test
	COMPOSER_KILLS=$(or $(KILLS),200) COMPOSER_KILLS_SEED=$(or $(KILLS_SEED),0) \
		.venv/bin/python -m pytest -s tests/fault/test_storm.py

vm-test:
	@scripts/vm-test

firewall-test:
	@scripts/firewall-test

distro-test:
	@scripts/distro-test $(DISTROS)

lint:
	@scripts/prepare test
	.venv/bin/ruff check .
	.venv/bin/mypy

format:
	@scripts/prepare test
	.venv/bin/ruff check --fix --quiet .
	.venv/bin/ruff format --quiet .

programs:
	python3 scripts/build_programs.py

bench:
	@scripts/prepare test
	.venv/bin/python bench/compose.py $(BENCH)
	.venv/bin/python bench/config.py $(BENCH)

clean:
	@scripts/clean-examples
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f examples/base/*/rootfs.tar*
