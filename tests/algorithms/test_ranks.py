"""Processes that learn together: two with half of the environments each do what one does with all of them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from memagents import RecurrentPPO, ranks
from memagents.runs.agent_files import read_description
from tests.support.toys import tmaze

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What one process found, and each of two; and the folder of the run of two."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for size in (1, 2):
        for rank in range(size):
            place = {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", "tests.algorithms.rank_work", str(folder)]
            processes.append(
                subprocess.Popen(command, cwd=ROOT, env={**os.environ, **place, **meeting}, stderr=subprocess.PIPE)
            )
    for process in processes:
        _, told = process.communicate(timeout=900)
        assert process.returncode == 0, told.decode()
    return folder, [dict(np.load(folder / f"{name}.npz")) for name in ("1-0", "2-0", "2-1")]


def test_two_are_one(results):
    _, (alone, first, second) = results
    assert alone.keys() == first.keys() == second.keys()
    for name, value in alone.items():
        np.testing.assert_allclose(first[name], value, rtol=2e-4, atol=2e-6, err_msg=name)
        if name != "anywhere":
            assert np.array_equal(first[name], second[name]), name
    assert np.array_equal(first["anywhere"], [True, False])
    assert any(name.startswith("bonus/") for name in alone) and len(alone["ppo/returns"]) > 10


def test_one_process_loads_the_run_and_does_not_go_on_with_it(results):
    folder, _ = results
    loaded = RecurrentPPO.load(folder / "run", device="cpu")
    assert loaded.num_timesteps == read_description(folder / "run")["num_timesteps"] == 4 * 8 * 2 * 2
    with pytest.raises(ValueError, match=r"one of 2 processes \(torchrun --nproc-per-node 2 …\), and not of 1"):
        RecurrentPPO.resume(folder / "run", tmaze(2), device="cpu")


def test_a_process_that_meets_others_after_its_agent_was_made_leaves_the_run_folder_to_the_first(tmp_path, monkeypatch):
    agent = RecurrentPPO("MlpPolicy", tmaze(2), n_steps=4, run_dir=tmp_path / "run", device="cpu")
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    agent.learn(8)
    assert not (tmp_path / "run").exists()
