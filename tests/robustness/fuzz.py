"""Files of a run folder changed at random, given to whatever reads them: an answer or one clear error, nothing else.

    python -m tests.robustness.fuzz --minutes 10          # or: make fuzz

A run folder has no manifest here, as one of a stranger's would have one that fits. What fails is printed with the
seed by which it comes again.
"""

import argparse
import contextlib
import io
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch

from memagents import NEC, MemoryPolicy, RecurrentPPO
from memagents.experiments.configuration import command_line, of_recipe, of_run
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run
from memagents.experiments.settings import PPOSettings
from memagents.experiments.training import finished, make_agent
from memagents.runs.progress import read_progress
from tests.robustness.mutations import mutate
from tests.support.toys import tmaze

EXPECTED = ValueError  # CheckpointError is one
LINES = 6  # that an error may have
SLOW = 20.0  # seconds that no file of these sizes may take


def load(folder):
    """Act with a loaded agent."""
    agent = RecurrentPPO.load(folder, device="cpu")
    agent.predict(agent.observation_space.sample())


def resume(folder):
    """Go on with a run."""
    RecurrentPPO.resume(folder, tmaze(), device="cpu")


def settings(folder):
    """Read the settings of a run, and go on with it as the command line does, up to the learning."""
    run = of_run(folder)
    command_line(PPOSettings, ["--resume", str(folder)])
    finished(folder, run)


def opened(folder):
    """Open a run, as evaluation and inspection do."""
    run = Run.open(folder)
    run.check_imports(())
    run.evaluation_env()


def recipe(folder):
    """Read a recipe."""
    of_recipe(PPOSettings, str(folder / "recipe.yaml"))


def policy(folder):
    """Read a policy that was saved alone."""
    MemoryPolicy.load(folder / "alone.safetensors", device="cpu")


def episodic(folder):
    """Load an agent with a lasting memory."""
    NEC.load(folder / "nec", device="cpu")


def log(folder):
    """Read the log."""
    read_progress(folder / "progress.csv")


READERS = {
    "policy.json": (load, resume, opened),
    "policy.safetensors": (load,),
    "checkpoint/state.safetensors": (resume,),
    "config.yaml": (settings, opened),
    "progress.csv": (log,),
    "recipe.yaml": (recipe,),
    "alone.safetensors": (policy,),
    "manifest.json": (load, resume),
    "nec/policy.json": (episodic,),
    "nec/memory.safetensors": (episodic,),
}


def sound(folder):
    """Make a folder in which all files are as they should be."""
    made = PPOSettings(
        env="memenvs/TMaze-v0",
        env_kwargs={"length": 3},
        core="gru",
        core_kwargs={"hidden_size": 4},
        n_envs=4,
        n_steps=8,
        total_timesteps=64,
        run_dir=str(folder),
        overwrite=True,
    )
    curriculum = make_curriculum(made)
    agent = make_agent(made, curriculum)
    agent.learn(32)
    agent.policy.save(folder / "alone.safetensors")
    shutil.copy(folder / "config.yaml", folder / "recipe.yaml")
    text = (folder / "recipe.yaml").read_text().replace("algorithm: RecurrentPPO", "command: ppo")
    (folder / "recipe.yaml").write_text(text)
    episodes = NEC("MlpPolicy", tmaze(), device="cpu", learning_starts=8, batch_size=4, n_steps=2, train_freq=8)
    episodes.learn(64)
    episodes.save(folder / "nec")
    return folder


def attempt(folder, name, seed):
    """Change one file of a sound folder, and let its readers read; what they must not do is returned in words."""
    rng, file = np.random.default_rng(seed), folder / name
    whole, manifest = file.read_bytes(), folder / "manifest.json"
    vouched = {path: path.read_bytes() for path in (manifest, folder / "nec" / "manifest.json")}
    threads = torch.get_num_threads()
    try:
        if name != "manifest.json":
            for path in vouched:
                path.unlink()
        file.write_bytes(mutate(name, whole, rng))
        for reader in READERS[name]:
            begin = time.monotonic()
            try:
                with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                    warnings.simplefilter("ignore")
                    reader(folder)
            except EXPECTED as error:
                lines = len(str(error).splitlines())
                if lines > LINES:
                    return f"{reader.__name__}: an error of {lines} lines"
            except Exception:
                return f"{reader.__name__}: {traceback.format_exc()}"
            if time.monotonic() - begin > SLOW:
                return f"{reader.__name__}: took {time.monotonic() - begin:.0f} s"
        return None
    finally:
        torch.set_num_threads(threads)
        file.write_bytes(whole)
        for path, data in vouched.items():
            path.write_bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(READERS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    failures, tried, end = 0, dict.fromkeys(given.only, 0), time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as place:
        folder, seed = sound(Path(place) / "run"), given.seed
        while time.monotonic() < end:
            for name in given.only:
                tried[name] += 1
                found = attempt(folder, name, seed)
                if found:
                    failures += 1
                    print(f"--- {name}, seed {seed}: {found}", flush=True)
            seed += 1
    print("; ".join(f"{name}: {count}" for name, count in tried.items()))
    print(f"{sum(tried.values())} files, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
