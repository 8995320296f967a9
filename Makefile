# make            install what composer needs, and composer into .venv
# make demo       build examples/shop, start it, send requests, take it down
# make test       lint, type check, run the whole test suite
# make kill-storm  kill composer's processes at random moments, KILLS times (200), with the seed KILLS_SEED (0)
# make vm-test    run the cgroup tests in a virtual machine with cgroup v2 (VM_RUN boots one; skipped without it)
# make firewall-test  test published ports together with Debian's ufw and firewalld
# make distro-test  run make demo, and examples/hello as an ordinary user, on each distribution in the README (DISTROS)
# make programs   compile the C programs again, after a change to one
# make bench      compare with Docker Compose, if it is installed (DOCKER_HOST is honoured)
# make clean      remove what the other targets created; asks before removing the examples' images and volumes

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
		.venv/bin/python -m pytest -s tests/fault/test_storm.py tests/fault/test_image_storm.py

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
