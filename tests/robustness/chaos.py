"""Work that is killed at random moments, on a disk that is full or read-only now and then: what is left is whole.

    python -m tests.robustness.chaos --kills 300          # or: make chaos

Most kills meet a training. After each one the folder must hold one moment: description, weights and state of the same
step, no earlier than the last one seen; after the last one the training goes on to its end, and must have become, bit
for bit, what it would have become without a kill, whatever the clock said. Some kills meet an evaluation, which must
leave its file whole or not at all and the run as it was, and some the compilation of an environment, which must work
afterwards. The disk is one of a few MiB in a namespace of mounts where Linux lends one, else each file has a limit.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

from memagents import RecurrentPPO
from memagents.command_line import evaluate
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


def train(folder, total):
    """Go on in a folder until the steps are made."""
    learn(training(folder), total)


def killed(work, after, *preparations):
    """Do some work in a process of its own, and kill it after some seconds.

    :param work: a function without arguments
    :param preparations: functions that are called before it, in the process
    :return: how it ended: killed, finished, the disk failed, or failed
    """
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            warnings.simplefilter("ignore")
            for prepare in preparations:
                prepare()
            work()
            os._exit(0)
        except (OSError, SystemExit):  # the second from a command, which has said why
            os._exit(3)
        except BaseException:
            os._exit(4)
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return {0: "finished", 3: "the disk failed"}.get(os.waitstatus_to_exitcode(status), "failed")
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed"


def limit_files(bytes_on_disk):
    """Let no file of this process become larger, as on a disk that is full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_on_disk, bytes_on_disk))


def jump(dice):
    """Let the clock of this process jump by up to ten days, forwards and back, at each look."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + dice.uniform(-864_000, 864_000)
    time.time_ns = lambda: now_ns() + int(dice.uniform(-864_000, 864_000) * 1e9)


class Disk:
    """A small disk of its own for a folder, where Linux lets this process mount one.

    :param place: an empty folder
    """

    def __init__(self, place):
        self.place, self.ballast = place, place / "ballast"
        self.own = self._mount("-t", "tmpfs", "-o", "size=16m", "tmpfs")

    def _mount(self, *words):
        done = subprocess.run(["mount", *words, str(self.place)], capture_output=True, check=False)
        return done.returncode == 0

    @contextlib.contextmanager
    def read_only(self):
        """Let nothing be written, if that can be had; yields whether it can."""
        change = self.own and self._mount("-o", "remount,ro")
        yield change
        if change:
            assert self._mount("-o", "remount,rw")

    @contextlib.contextmanager
    def full(self, left):
        """Fill the disk but for some bytes; yields whether there is one to fill."""
        if self.own:
            with contextlib.suppress(OSError), open(self.ballast, "wb", buffering=0) as file:
                while file.write(bytes(2**16)):
                    pass
            os.truncate(self.ballast, max(0, self.ballast.stat().st_size - left))
        yield self.own
        self.ballast.unlink(missing_ok=True)


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


def chaos(place, kills, seed=0, longest=1.0):
    """Kill a training so many times, then let it end.

    :return: how often it ended how, in how many of these a checkpoint was left, the steps in the end, and whether that
        is the end without kills
    :raises AssertionError: at the first thing that is not as promised
    """
    dice, counts, steps, total, advanced = random.Random(seed), {}, 0, WINDOW * 40, 0
    disk, folder = Disk(place), place / "run"
    for number in range(kills):
        trouble = dice.choice(["", "", "", "", "limit", "full", "read-only", "clock"])
        prepared = {
            "limit": [functools.partial(limit_files, dice.randrange(1, 400_000))],
            "clock": [functools.partial(jump, random.Random(number))],
        }.get(trouble, [])
        with contextlib.ExitStack() as stack:
            if trouble == "full":
                stack.enter_context(disk.full(dice.randrange(400_000)))
            elif trouble == "read-only":
                stack.enter_context(disk.read_only())
            ended = killed(functools.partial(train, folder, total), dice.uniform(0.02, longest), *prepared)
        assert ended != "failed", f"after {number} kills the training could not go on ({trouble})"
        name = f"{ended} ({trouble})" if trouble else ended
        counts[name] = counts.get(name, 0) + 1
        before, steps = steps, check(folder, steps)
        advanced += steps > before
        if steps >= total - WINDOW:
            total += WINDOW * 40
    agent = training(folder)
    learn(agent, total)
    straight = make(core="gru", policy_kwargs=LARGE)  # not before: it seeds what both draw from
    learn(straight, total)
    ours, theirs = weights_of(agent), weights_of(straight)
    same = all(torch.equal(ours[name], theirs[name]) for name in theirs)
    return counts, advanced, total, same


def chaos_of_evaluation(folder, kills, seed=0, longest=1.0):
    """Kill the evaluation of a run so many times: its file is whole or not there, and the run is as it was.

    :param folder: of a run
    :return: how often it ended how
    :raises AssertionError: at the first thing that is not as promised
    """
    words = [str(folder), "--env", "memenvs/TMaze-v0", "--over", "length=[3,9]", "--episodes", "64", "--device", "cpu"]
    path, dice, counts, steps = folder / "over_length.json", random.Random(seed), {}, check(folder, 0)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluate.main(words)
    right = json.loads(path.read_text())
    for _ in range(kills):
        if dice.random() < 0.5:
            path.unlink(missing_ok=True)
        ended = killed(lambda: evaluate.main(words), dice.uniform(0.02, longest))
        assert ended in ("killed", "finished"), "the evaluation failed"
        counts[ended] = counts.get(ended, 0) + 1
        assert not path.exists() or json.loads(path.read_text()) == right, "the evaluation is of another run"
        assert check(folder, steps) == steps, "the run has changed"
    return counts


def chaos_of_compilation(cache, kills, seed=0):
    """Kill a process that compiles so many times, always with the same cache; after each the next one has to do.

    :param cache: an empty folder
    :return: how often it ended how, and whether the last, undisturbed one saw what a process without a cache sees
    """
    command = [sys.executable, "-m", "tests.robustness.compiling"]
    dice, counts = random.Random(seed), {}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as empty:
        right = subprocess.run(command, env=os.environ | {"NUMBA_CACHE_DIR": empty}, capture_output=True, check=True)
    longest = time.monotonic() - begin
    own = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    for _ in range(kills):
        with subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                _, told = process.communicate(timeout=dice.uniform(0.3, 0.8) * longest)
                assert process.returncode == 0, told.decode()
                ended = "finished"
                shutil.rmtree(cache)  # there is nothing left to compile
            except subprocess.TimeoutExpired:
                process.kill()
                ended = "killed"
        counts[ended] = counts.get(ended, 0) + 1
    left = subprocess.run(command, env=own, capture_output=True, check=True)
    return counts, left.stdout == right.stdout


def in_own_namespace():
    """Begin this program anew where it may mount a disk of its own, if that can be had."""
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    if "MEMAGENTS_CHAOS" in os.environ or shutil.which("unshare") is None:
        return
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
        os.environ["MEMAGENTS_CHAOS"] = "1"
        os.execvp("unshare", [*words, sys.executable, "-m", "tests.robustness.chaos", *sys.argv[1:]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    in_own_namespace()
    torch.set_num_threads(1)
    make(core="gru", policy_kwargs=LARGE).learn(WINDOW)  # compiled before it is forked
    with tempfile.TemporaryDirectory() as place:
        work, cache = Path(place) / "work", Path(place) / "cache"
        work.mkdir()
        try:
            counts, advanced, total, same = chaos(work, given.kills, given.seed)
            evaluated = chaos_of_evaluation(work / "run", given.kills // 6, given.seed)
            left = [path.name for path in work.rglob(".*")]
            compiled, works = chaos_of_compilation(cache, given.kills // 12, given.seed)
        finally:
            subprocess.run(["umount", str(work)], capture_output=True, check=False)
    print("training:", listed(counts))
    print(f"a new checkpoint in {advanced} of {given.kills}; left over: {', '.join(left) or 'nothing'}")
    print(f"{total:,} steps in the end, {'bit for bit' if same else 'NOT'} what they are without a kill")
    print("evaluation:", listed(evaluated))
    print(f"compilation: {listed(compiled)}; after that it {'works' if works else 'does NOT work'}")
    return 0 if same and works and not left else 1


def listed(counts):
    """Return counts in words."""
    return ", ".join(f"{ended}: {count}" for ended, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
