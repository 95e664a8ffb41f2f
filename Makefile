# One environment for everything: `make run` and `make test` build it on first use.
#   PYTHON=python3.12 make run     another Python (3.10 to 3.13) for a new environment; for 3.12 and
#                                  3.13 PyBullet has no wheels and is compiled, which takes minutes
#   VENV=/tmp/venv make test       another place for the environment
PYTHON ?= python3
VENV ?= .venv
RESULTS = outputs/ls3_cable

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test test-slow lint clean same-python

# The environment stands alone, also in a shell where a ROS workspace or another environment is set up.
ifneq ($(AMENT_PREFIX_PATH)$(_ROS_WHEELS_BOOTSTRAP_COMPLETE),)
unexport LD_LIBRARY_PATH
endif
unexport PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

PIP = $(VENV)/bin/pip
INSTALLED = $(VENV)/.safe_skills_installed
BUILT_FROM = setup.py setup.cfg pyproject.toml CMakeLists.txt package.xml $(wildcard msg/*.msg)

help: ## list the targets (default)
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

install: $(INSTALLED) ## make the environment and install the package and its tools into it

run: $(INSTALLED) ## run LS3 on the simulated cable task: 20 episodes, results in outputs/
	@echo "Running 20 episodes of the cable task; results: $(RESULTS).json, $(RESULTS).gif"
	@mkdir -p outputs
	@$(VENV)/bin/safe-skills run ls3_cable --episodes 20 --json $(RESULTS).json --gif $(RESULTS).gif

test: $(INSTALLED) ## run the fast tests
	@echo "Running the fast tests"
	@$(VENV)/bin/python -m pytest -q

test-slow: $(INSTALLED) ## run the tests that take minutes
	@echo "Running the slow tests"
	@$(VENV)/bin/python -m pytest -q -m slow

lint: $(INSTALLED) ## check style and formatting
	@echo "Checking style and formatting"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

clean: ## remove the environment, builds and caches (not outputs/ and data/)
	@echo "Removing $(VENV), builds and caches"
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	@rm -rf build install log dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find safe_skills test launch -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(INSTALLED): $(BUILT_FROM) | $(PIP) same-python
	@$(VENV)/bin/python -c "$$CHECK_HEADERS"
	@command -v "$${CXX:-c++}" >/dev/null || \
		{ echo "error: there is no C++ compiler: install the Debian package g++" >&2; exit 1; }
	@echo "Installing safe_skills and what it needs into $(VENV) (minutes the first time)"
	@$(PIP) install -e '.[test,dev]'
	@touch $@

$(PIP):
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "error: there is no $(PYTHON): install the Debian package $(notdir $(PYTHON))" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@echo "Making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv "$(VENV)"

# Only where PYTHON is given: is the environment made with it?
same-python: | $(PIP)
ifneq ($(origin PYTHON),file)
	@$(PYTHON) -c "$$CHECK_SAME" "$(VENV)"
endif

define CHECK_PYTHON
import platform, sys

if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    sys.exit("error: this is Python %s; Python 3.10 to 3.13 is needed: install the Debian package "
             "python3.11 or python3.12 and name it: make PYTHON=python3.11" % platform.python_version())
try:
    from ensurepip import bootstrap
    from venv import create
except ImportError:
    sys.exit("error: Python has no venv module: install the Debian package python%d.%d-venv"
             % sys.version_info[:2])
endef
define CHECK_HEADERS
import os, sys, sysconfig

header = os.path.join(sysconfig.get_path("include"), "Python.h")
if not os.path.exists(header):
    sys.exit("error: there is no %s: install the Debian package python%d.%d-dev"
             % (header, *sys.version_info[:2]))
endef
define CHECK_SAME
import re, sys

made = re.search(r"version\w* *= *(\d+)\.(\d+)", open(sys.argv[1] + "/pyvenv.cfg").read()).groups()
if sys.version_info[:2] != tuple(map(int, made)):
    sys.exit("error: %s was made with Python %s.%s, not with the Python %d.%d asked for: run make clean, "
             "or name another: make VENV=..." % (sys.argv[1], *made, *sys.version_info[:2]))
endef
export CHECK_PYTHON CHECK_HEADERS CHECK_SAME
