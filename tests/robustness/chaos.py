"""A training killed again and again at random moments, on a disk that is full now and then: what is left is whole.

    python -m tests.robustness.chaos --kills 300          # or: make chaos

After each kill the folder must hold one moment: description, weights and state of the same step, no earlier than the
last one seen. After the last one the training goes on to its end, and must have become, bit for bit, what it would
have become without a kill.
"""

import argparse
import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

from memagents import RecurrentPPO
from memagents.runs import agent_files
from memagents.runs.checkpoint import holds
from memagents.runs.layout import MANIFEST_FILE, STATE_FILE
from memagents.runs.progress import STEPS, read_progress
from tests.support.agents import make, weights_of
from tests.support.toys import tmaze

WINDOW = 4 * 8  # steps of the four environments in an iteration
LARGE = {"core_kwargs": {"hidden_size": 96}, "net_arch": [128]}  # so that much of the time goes into saving


def training(folder):
    """Return the agent that begins or goes on in a folder."""
    if holds(folder, STATE_FILE):
        return RecurrentPPO.resume(folder, tmaze(), device="cpu")
    return make(core="gru", run_dir=folder, checkpoint_interval=1, policy_kwargs=LARGE)


def learn(agent, total):
    """Learn until the steps are made."""
    agent.learn(total - agent.num_timesteps, reset_num_timesteps=agent.num_timesteps == 0)


def killed(folder, total, after, bytes_on_disk):
    """Train in a process of its own, and kill it after some seconds.

    :param bytes_on_disk: that a file may have, as on a disk that is full; None for any number
    :return: how it ended: killed, finished or failed
    """
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            warnings.simplefilter("ignore")
            if bytes_on_disk is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_on_disk, bytes_on_disk))
            learn(training(folder), total)
            os._exit(0)
        except OSError:
            os._exit(3)
        except BaseException:
            os._exit(4)
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return {0: "finished", 3: "the disk was full"}.get(os.waitstatus_to_exitcode(status), "failed")
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed"


def check(folder, before):
    """Hold what is left against what was promised.

    :param before: steps of the checkpoint that was seen last
    :return: steps of the checkpoint that is there now
    :raises AssertionError: if something is missing, of another moment, or lost
    """
    if not (folder / MANIFEST_FILE).exists():
        assert before == 0, "the checkpoint is gone"
        return 0
    described = agent_files.read_description(folder)["num_timesteps"]
    state = agent_files.read_training_state(folder)
    weights = agent_files.read_weights(folder)
    assert described == state["counters"]["num_timesteps"], "description and state are of different moments"
    assert all(torch.equal(weights[name], state["weights"][name]) for name in weights), "weights and state differ"
    assert described >= before, f"step {before} was saved, {described} is there now"
    if (folder / "progress.csv").exists():
        rows = [float(row[STEPS]) for row in read_progress(folder / "progress.csv")]
        assert rows == sorted(set(rows)), "the log has steps twice, or in disorder"
    return described


def chaos(folder, kills, seed=0, longest=1.0):
    """Kill a training so many times, then let it end.

    :return: how often it ended how, in how many of these a checkpoint was left, the steps in the end, and whether that
        is the end without kills
    :raises AssertionError: at the first thing that is not as promised
    """
    dice, counts, steps, total, advanced = random.Random(seed), {}, 0, WINDOW * 40, 0
    for number in range(kills):
        small = dice.choice([None, None, None, None, dice.randrange(1, 400_000)])
        ended = killed(folder, total, dice.uniform(0.02, longest), small)
        assert ended != "failed", f"after {number} kills the training could not go on"
        counts[ended] = counts.get(ended, 0) + 1
        before, steps = steps, check(folder, steps)
        advanced += steps > before
        if steps >= total - WINDOW:
            total += WINDOW * 40
    agent = training(folder)
    learn(agent, total)
    straight = make(core="gru", policy_kwargs=LARGE)
    learn(straight, total)
    ours, theirs = weights_of(agent), weights_of(straight)
    same = all(torch.equal(ours[name], theirs[name]) for name in theirs)
    return counts, advanced, total, same


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    make(core="gru", policy_kwargs=LARGE).learn(WINDOW)  # compiled before it is forked
    with tempfile.TemporaryDirectory() as place:
        counts, advanced, total, same = chaos(Path(place) / "run", given.kills, given.seed)
        left = [path.name for path in Path(place).rglob(".*")]
    print(", ".join(f"{ended}: {count}" for ended, count in sorted(counts.items())))
    print(f"a new checkpoint in {advanced} of {given.kills}; left over: {', '.join(left) or 'nothing'}")
    print(f"{total:,} steps in the end, {'bit for bit' if same else 'NOT'} what they are without a kill")
    return 0 if same and not left else 1


if __name__ == "__main__":
    sys.exit(main())
