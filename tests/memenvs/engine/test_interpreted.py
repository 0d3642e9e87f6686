"""The loops as plain Python: the same as compiled, and what they refuse."""

import os
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from memenvs.engine.batch import Batch
from memenvs.engine.interpreted import Guarded, Record
from tests.memenvs.support.drifting import define as drifting
from tests.memenvs.support.steering import define as steering
from tests.memenvs.support.switches import define as switches

OURS = [
    ("memenvs/TMaze-v0", {"length": 3}),
    ("memenvs/Maze-v0", {"size": 7, "max_steps": 25}),
    ("memenvs/Underground-v0", {"stations": 4, "distance": (1, 3)}),
    ("memenvs/MiniGrid-Empty-Random-5x5-v0", {}),
    ("memenvs/Copy-v0", {"length": (1, 5)}),
    ("memenvs/popgym-NoisyPositionOnlyCartPoleEasy-v0", {"max_steps": 15}),
    ("memenvs/popgym-NoisyPositionOnlyPendulumEasy-v0", {"max_steps": 12}),
    ("memenvs/popgym-LabyrinthEscapeEasy-v0", {"size": 7, "max_steps": 20}),
]


def define_ours(name, parameters):
    return gym.make(name, **parameters).unwrapped.definition


def test_interpreted_loops_do_what_compiled_ones_do():
    for definition in [drifting(), switches(dials=(3, 10)), steering((2, 2)), *(define_ours(*case) for case in OURS)]:
        batches = [Batch(definition, 3, interpret=interpret) for interpret in (False, True)]
        rng = np.random.default_rng(0)
        for batch in batches:
            batch.seed(3)
            batch.reset()
        ends = 0
        for _ in range(40):
            kept = rng.bit_generator.state
            actions = batches[0].random_walk(rng)
            rng.bit_generator.state = kept
            assert np.array_equal(actions, batches[1].random_walk(rng))
            ends += batches[0].step(actions)
            batches[1].step(actions)
            for name in ("outs", "finals", "flags", "lengths", "values"):
                assert np.array_equal(getattr(batches[0], name), getattr(batches[1], name)), (definition.name, name)
            assert np.all(batches[0].rows == batches[1].rows), definition.name
        assert ends > 2, definition.name


def records():
    dtype = np.dtype(
        [("key", np.uint64), ("x", np.uint8), ("y", np.float32), ("record", np.int8), ("cells", np.int8, (2, 2))]
    )
    return np.zeros(2, np.dtype([("inner", dtype)]))


def test_what_is_written_into_a_record_must_come_out_of_it():
    array = records()
    record = array.view(Guarded)[1].inner
    assert isinstance(record, Record)
    record.x, record.y, record.key, record.cells[1, 0] = 255, 0.1, np.uint64(2**64 - 1), -128
    record.cells[0] = 3
    record.record = 7
    assert array["inner"]["x"].tolist() == [0, 255]
    assert array["inner"]["cells"][1].tolist() == [[3, 3], [-128, 0]]
    assert array["inner"]["record"].tolist() == [0, 7]
    assert isinstance(record.x, int) and record.x + 1 == 256
    for value in (256, -1, 0.5, np.nan):
        with pytest.raises((ValueError, OverflowError), match=r"cannot be held by uint8|out of bounds for uint8|NaN"):
            record.x = value
    for index, value in (((0, 0), 1.5), ((0, 0), 128), (0, np.array([1.0, 0.25])), (slice(None), 200)):
        with pytest.raises((ValueError, OverflowError), match="int8"):
            record.cells[index] = value
    with pytest.raises(IndexError, match="index 2 is out of bounds for axis 0 with size 2"):
        record.cells[2, 0] = 1
    with pytest.raises(IndexError):
        record.cells[0][5]
    for access in (lambda: record.z, lambda: setattr(record, "z", 1)):
        with pytest.raises(
            AttributeError, match=r"the record has no field 'z', only \['key', 'x', 'y', 'record', 'cells'\]"
        ):
            access()
    array.view(Guarded)[0].inner = record
    assert array[0] == array[1]


WITHOUT_NUMBA = """
import gymnasium as gym
import os, memenvs, numba, numpy as np
from memenvs.testing import debug
assert bool(numba.config.DISABLE_JIT) == ("NUMBA_DISABLE_JIT" in os.environ)
found = []
for name in ("memenvs/TMaze-v0", "memenvs/Copy-v0", "memenvs/Underground-v0", "memenvs/Maze-v0"):
    envs = gym.make_vec(name, num_envs=2)
    observations, _ = envs.reset(seed=5)
    total = 0.0
    for _ in range(20):
        observations, rewards, *_ = envs.step(np.maximum(envs.oracle(), 0))
        total += rewards.sum()
    found.append(round(float(total), 6))
print(found, debug("memenvs/TMaze-v0", steps=30)["steps"])
"""


def test_numba_can_be_disabled():
    def run(**more):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_NUMBA],
            env=os.environ | more,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    plain = run(NUMBA_DISABLE_JIT="1")
    assert plain == run() and plain.endswith(" 30\n") and "[0.0" not in plain
