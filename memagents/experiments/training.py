"""Training from settings to a run folder: preparation, the agent, learning, Ctrl-C."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from memagents import ranks
from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.algorithms.distillation import Distillation
from memagents.algorithms.sb3_names import option_hint
from memagents.checks import device_name, thread_count
from memagents.cores import core_class
from memagents.environments.guidance import has_oracle
from memagents.environments.spaces import space_from_json
from memagents.experiments.catalogue import of_settings
from memagents.experiments.configuration import write_config
from memagents.experiments.curriculum import Curriculum
from memagents.experiments.figures import learning_curve
from memagents.experiments.lessons import saved_lesson
from memagents.experiments.retention import Scores
from memagents.experiments.settings import GradientSettings, ImitationSettings, TrainSettings, WindowSettings
from memagents.runs import agent_files, layout
from memagents.runs.files import CheckpointError
from memagents.runs.layout import LEARNING_CURVE
from memagents.runs.lock import check_free


def prepare(imports: Sequence[str] = (), threads: int | None = None, device: str = "auto") -> None:
    """Import packages that register cores and environments, set torch's threads, check the device.

    Packages are also found in the current folder, as by ``python -m``.

    :param imports: packages to import
    :param threads: threads of torch, which by default takes one for each core (or OMP_NUM_THREADS)
    :param device: only checked
    :raises ValueError: if a package or the device does not exist
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    for name in imports:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            raise ValueError(f"imports: there is no package {name!r}") from error
    if threads is not None:
        torch.set_num_threads(thread_count(threads))
    chosen = torch.device("cpu" if device_name(device) == "auto" else device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is {device!r}, but torch finds {torch.cuda.device_count()} CUDA devices here")


# --- before learning ------------------------------------------------------------------------------------------------


def make_agent(settings: TrainSettings, curriculum: Curriculum) -> MemoryAlgorithm:
    """Make an agent in the environments of its lesson: a new one in a new run folder, or the one that is resumed.

    :raises ValueError: for what the algorithm, its core or the run folder does not allow
    """
    algorithm = of_settings(settings).load()
    algorithm.check_ranks()  # before there is a run folder
    if settings.resume is not None:
        folder = Path(settings.resume)
        if ranks.rank() == 0:
            check_free(folder)
        lesson = saved_lesson(folder, len(curriculum.lessons))
        return algorithm.resume(folder, curriculum.make_env(lesson), settings.device)
    check_parameters(settings, algorithm)
    env = curriculum.make_env(0)
    check_oracle(settings, env)
    agent = algorithm("MlpPolicy", env, **settings.hyperparameters())
    if isinstance(agent, Distillation):
        agent.teacher_policy()  # what is wrong with it is better known before there is a run folder
    if settings.init_from is not None:
        take_weights(agent, Path(settings.init_from))
    if ranks.rank() == 0:
        agent.run_dir = new_folder(settings)
        write_config(settings, agent.run_dir)
        agent.claim(agent.run_dir)
    return agent


def check_oracle(settings: TrainSettings, env: VecEnv) -> None:
    """:raises ValueError: for an oracle that is to be imitated, and that there is not"""
    if isinstance(settings, ImitationSettings) and not has_oracle(env):
        raise ValueError(f"env {settings.env} has no oracle to imitate; train by another algorithm, such as ppo")


def check_parameters(settings: TrainSettings, algorithm: type[MemoryAlgorithm]) -> None:
    """Refuse parameters of the policy and the core that are named as in Stable-Baselines3, with what stands for them.

    Those of the policy that are settings of their own, whose value would be put in their place, are refused as well.

    :raises ValueError: naming the first; other unknown names are refused where the policy and the core are made
    """
    takers: list[tuple[str, type]] = [("policy_kwargs", algorithm.policy_aliases["MlpPolicy"])]
    if isinstance(settings, GradientSettings):
        takers.append(("core_kwargs", core_class(settings.core)))
    for name, taker in takers:
        for word in sorted(getattr(settings, name).keys() - set(inspect.signature(taker).parameters)):
            hint = option_hint(word, vars(settings))
            if hint:
                raise ValueError(f"{name}: there is no parameter {word!r}{hint}")
    own = sorted(settings.policy_kwargs.keys() & {field.name for field in dataclasses.fields(settings)})
    if own:
        raise ValueError(f"policy_kwargs: {own[0]} is a setting of its own, --{own[0].replace('_', '-')}")


def take_weights(agent: MemoryAlgorithm, folder: Path) -> None:
    """Begin with the weights of another run; heads for training alone may be others, and begin anew.

    :raises CheckpointError: if its spaces or its core are others, or its critic learned in other units
    """
    saved = agent_files.read_description(folder)
    for name in ("observation_space", "action_space"):
        theirs, ours = space_from_json(saved[name]), getattr(agent, name)
        if theirs != ours:
            raise CheckpointError(f"init_from {folder}: its {name} is {theirs}, this run's is {ours}")
    for name in ("core", "critic_core", "normalize_values"):
        value, own = (kwargs.get(name) for kwargs in (saved["policy_kwargs"], agent.policy_kwargs))
        if value != own and (name, value, own) != ("critic_core", None, "same"):  # one memory's weights for either
            raise CheckpointError(f"init_from {folder}: its {name} is {value}, this run's is {own}")
    agent.set_parameters(folder, exact_match=False)


def new_folder(settings: TrainSettings) -> Path:
    """Make the folder of a new run: the one asked for, or one named after the settings.

    :raises ValueError: if there is something in the folder asked for, and it is not a run to overwrite
    """
    if settings.run_dir is not None:
        check_free(Path(settings.run_dir))
        return layout.empty(Path(settings.run_dir), settings.overwrite)
    env = re.split("[:/]", settings.env)[-1]  # without the package and the namespace
    return layout.new(re.sub(r"[^\w.-]+", "-", f"{env}-{settings.agent}-{settings.seed}"))


def finished(folder: Path, settings: TrainSettings) -> bool:
    """Return whether a run has made all its steps, and say so.

    :raises CheckpointError: if there is no such run, or it cannot be read
    """
    made, wanted = agent_files.read_description(folder)["num_timesteps"], settings.total_timesteps
    if made < wanted:
        return False
    print(
        f"{folder} is finished: {made:,} of {wanted:,} steps are made; a new run of the same environment and core goes "
        f"on from its weights by: memagents train {of_settings(settings).name} … --init-from {folder}"
    )
    return True


# --- learning -------------------------------------------------------------------------------------------------------


def learn(
    agent: MemoryAlgorithm, settings: TrainSettings, curriculum: Curriculum, callbacks: Sequence[BaseCallback] = ()
) -> None:
    """Learn until the steps are made or the curriculum is, then draw the learning curve.

    :param callbacks: further ones
    :raises Stopped: after Ctrl-C, SIGTERM or SIGHUP, when all is saved; its message says how to go on
    :raises FloatingPointError: if a loss is not finite; the last checkpoint is kept
    """
    folder, resumed, n_envs = agent.run_dir, settings.resume is not None, agent.n_envs * ranks.size()
    steps = agent.remaining_timesteps if resumed else settings.total_timesteps
    if folder is None:  # the first rank writes, for all
        with stop_on_interrupt(agent):
            agent.learn(steps, [curriculum], reset_num_timesteps=not resumed)
        return
    weights = sum(p.numel() for p in agent.policy.parameters())
    print(
        f"{folder}: {settings.algorithm} ({settings.agent}, {weights:,} weights) on {settings.env}, "
        f"{n_envs} environment{'s' * (n_envs != 1)}{f' in {ranks.size()} processes' * (ranks.size() > 1)}, "
        f"{agent.device}"
    )
    if isinstance(settings, WindowSettings) and not resumed and steps < settings.n_steps * n_envs:
        print(
            f"total_timesteps {steps:,} is less than one window (n_steps {settings.n_steps} × n_envs {n_envs}), "
            f"which is always finished: {settings.n_steps * n_envs:,} steps will be made"
        )
    with stop_on_interrupt(agent) as interrupted:
        agent.learn(steps, [curriculum, *callbacks], reset_num_timesteps=not resumed, progress_bar=True)
    planned = agent.num_timesteps + agent.remaining_timesteps
    if agent.remaining_timesteps and not interrupted:
        why = "the last lesson is learned" if curriculum.learned else "a callback stopped it"
        print(f"ended after {agent.num_timesteps:,} of {planned:,} steps: {why}")
    learning_curve([folder], folder / LEARNING_CURVE)
    if settings.lesson_episodes:
        print("\n".join(Scores.read(folder).table()))
    if interrupted:
        begin = f"torchrun --nproc-per-node {ranks.size()} -m " if ranks.size() > 1 else ""
        imports = f" --imports {' '.join(settings.packages)}" if settings.packages else ""
        raise Stopped(
            f"stopped and saved after {agent.num_timesteps:,} steps; "
            f"go on with: {begin}memagents train {of_settings(settings).name} --resume {folder}{imports}",
            interrupted[0],
        )


class Stopped(KeyboardInterrupt):
    """End of a training that a signal asked for, with all that was made saved.

    :param message: how to go on
    :param signal: its number
    """

    def __init__(self, message: str, signal: int):
        super().__init__(message)
        self.signal = signal


@contextlib.contextmanager
def stop_on_interrupt(agent: MemoryAlgorithm) -> Iterator[list[int]]:
    """Ctrl-C lets the agent learn from the present window before it stops; a second one stops at once.

    A request to end (``kill``, a scheduler whose time is up, a terminal that is closed) does what Ctrl-C does.

    :return: the numbers of the signals that came, none until then
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # as nohup has it
        before[hangup] = signal.getsignal(hangup)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        agent.stop()
        restore()
        print("\nstopping after this window; once more stops at once", file=sys.stderr)

    for number in before:
        signal.signal(number, stop)
    try:
        yield signals
    finally:
        restore()
