# The few commands of the project; each sets up what it needs, and does nothing twice.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# Two cores spin against each other otherwise; see shared facts in docs/benchmarks.md.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: setup train test lint mypy bench results gpu chaos fuzz soak clean

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

# What docs/reliability.md promises, for as long as there is patience.
chaos: setup
	OMP_NUM_THREADS=1 $(PY) -m tests.robustness.chaos --kills 300

fuzz: setup
	OMP_NUM_THREADS=1 $(PY) -m tests.robustness.fuzz --minutes 10

soak: setup
	OMP_NUM_THREADS=1 $(PY) -m tests.robustness.soak --minutes 60

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
