# The few commands of the project; each sets up what it needs, and does nothing twice.
PYTHON ?= python3
VENV   := .venv
RLLIB  := .venv-rllib
PY     := $(VENV)/bin/python
# Two cores spin against each other otherwise; see shared facts in docs/benchmarks.md.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: setup train test lint mypy bench results gpu rllib chaos fuzz soak clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt torch
	$(PY) -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

train: setup
	$(PY) train/main_job.py

# A process for each core, and one thread in each: more would wait for one another.
test: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadgroup

lint: setup mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

mypy: setup
	$(PY) -m mypy

bench: setup
	$(PY) benchmarks/run_all.py

# Which memory for which task: hours, and what is there already stays.
results: setup
	OMP_NUM_THREADS=1 $(PY) train/abilities.py

gpu: setup
	$(PY) -m pytest -m gpu
	$(PY) benchmarks/run_all.py --device cuda

# Inside Ray's RLlib and on a cluster of Ray, in an environment of their own: it wants another gymnasium.
rllib: $(RLLIB)/.ready
	OMP_NUM_THREADS=1 $(RLLIB)/bin/python -m pytest tests/rllib tests/experiments/test_cluster.py

$(RLLIB)/.ready: pyproject.toml constraints.txt constraints-rllib.txt
	test -x $(RLLIB)/bin/python || $(PYTHON) -m venv $(RLLIB)
	grep -v '^gymnasium==' constraints.txt | cat - constraints-rllib.txt > $(RLLIB)/constraints.txt
	$(RLLIB)/bin/python -m pip install --quiet -c $(RLLIB)/constraints.txt torch
	$(RLLIB)/bin/python -m pip install --quiet -c $(RLLIB)/constraints.txt -e '.[rllib]' pytest pytest-xdist optuna
	touch $@

# What docs/reliability.md promises, for as long as there is patience.
chaos: setup
	OMP_NUM_THREADS=1 $(PY) -m tests.robustness.chaos --kills 300

fuzz: setup
	OMP_NUM_THREADS=1 $(PY) -m tests.robustness.fuzz --minutes 10

soak: setup
	OMP_NUM_THREADS=1 $(PY) -m tests.robustness.soak --minutes 60

clean:
	rm -rf $(VENV) $(RLLIB) build dist .pytest_cache .ruff_cache .mypy_cache
