#!/usr/bin/env bash
# Numba 0.68.1: a function that was cached by two processes, for records of two layouts, runs for one layout the code of
# the other, without an error.
#
# A function with cache=True calls a second one; both take a NumPy record. One process calls it with a record whose field
# "last" comes after 2 numbers, another process, by itself, with one where it comes after 9; each caches what it compiled,
# and both print the right value. A good engineer expects the two specialisations to live side by side in the cache. Seen
# instead, in a third process that calls it with both records and compiles nothing:
#   2 numbers: 3619     9 numbers: 102 (3619 is right; what the inner function reads is the third of the 9 numbers)
# If one process compiles both, or the cache is emptied, all is right. The reason: names of compiled functions hold a
# number of the function and a number of the record's layout, which every process counts from the beginning, so that the
# inner functions of both processes have one name, and whichever is loaded first serves both. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 numpy==2.4.6
cat > "$folder/fields.py" <<'PYTHON'
import numpy as np
from numba import njit


def record(numbers):
    made = np.zeros(1, [("numbers", np.int64, (numbers,)), ("last", np.int64)])
    made["numbers"], made["last"] = 7, 1234
    return made[0]


@njit(cache=True)
def weighed(record, n):
    total = 0
    for i in range(n):
        if record.last % 10 == i:
            for j in range(i):
                total += (record.last + j) % (i + 3)
        else:
            total += min(i, record.last)
        total = total % 1000 + record.last
    return total


@njit(cache=True)
def twice(record, n):
    return weighed(record, n) + weighed(record, n + 1)
PYTHON
cat > "$folder/call.py" <<'PYTHON'
import sys

from fields import record, twice

print(*(twice(record(int(numbers)), 5) for numbers in sys.argv[1:]), "hits:", sum(twice.stats.cache_hits.values()))
PYTHON
cd "$folder"
one=$(venv/bin/python call.py 2)
other=$(venv/bin/python call.py 9)
third=$(venv/bin/python call.py 2 9)
rm -r __pycache__
alone=$(venv/bin/python call.py 2 9)
echo "one process, 2 numbers:           $one"
echo "another, 9 numbers:               $other"
echo "a third, both, from the cache:    $third"
echo "a fourth that compiles both:      $alone"
if [[ "$one" != "3619 hits: 0" || "$other" != "3619 hits: 0" || "$alone" != "3619 3619 hits: 0" ]]; then
    echo "the example itself is wrong here" >&2
    exit 1
fi
if [[ "$third" != "3619 102 hits: 2" ]]; then
    echo "the behaviour has changed" >&2
    exit 1
fi
