"""What the training scripts share, from settings to a run folder with its pictures and scores."""

from __future__ import annotations

import contextlib
import importlib
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from gymnasium.wrappers import RenderCollection
from rich.console import Console
from stable_baselines3.common.vec_env import VecEnv

from memagents import checkpoint, run_folder
from memagents.algorithm import MemoryAlgorithm
from memagents.checkpoint import CheckpointError
from memagents.checks import positive_int
from memagents.configuration import CONFIG_FILE, of_run, write_config
from memagents.curriculum import Curriculum, Lesson
from memagents.environments import has_split, make_env, make_single_env
from memagents.evaluation import Scores, baselines, compare, evaluate, scores_json, scores_table
from memagents.figures import learning_curve
from memagents.imitation import Imitation
from memagents.joined import JoinedVecEnv
from memagents.nec.mfec import MFEC
from memagents.nec.nec import NEC
from memagents.ppo import RecurrentPPO
from memagents.progress import PROGRESS_FILE
from memagents.settings import Settings
from memagents.spaces import space_from_json

LEARNING_CURVE, EVALUATION_FILE = "learning_curve.png", "evaluation.json"
EVALUATION_SEED = 1_000_000  # unlike the seeds that trainings are given
EVALUATION_ENVS = 64

A = TypeVar("A", bound=MemoryAlgorithm)


def prepare(imports: Sequence[str] = (), threads: int | None = None, device: str = "auto") -> None:
    """What comes before all else in a script: packages that register cores and environments, threads, the device.

    Packages are also found in the current folder, as by ``python -m``.

    :param imports: packages to import
    :param threads: of torch, which by default takes one for each core (or OMP_NUM_THREADS)
    :param device: checked only
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
        torch.set_num_threads(positive_int("threads", threads))
    try:
        chosen = torch.device("cpu" if device == "auto" else device)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is {device!r}, but torch finds {torch.cuda.device_count()} CUDA devices here")


@contextlib.contextmanager
def plain_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """Errors of these kinds end the script with their message alone, and exit code 2 (130 for Ctrl-C)."""
    try:
        yield
    except kinds as error:
        print(f"{error}" if isinstance(error, KeyboardInterrupt) else f"error: {error}", file=sys.stderr)
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from None


# --- before learning ------------------------------------------------------------------------------------------------


def make_curriculum(settings: Settings) -> Curriculum:
    """The lessons of a training, one of which needs no curriculum.

    :raises ValueError: if they are not all of the same spaces
    """
    lessons = settings.lessons or (Lesson({}),)
    seen = [make_single_env(settings.env, **env_kwargs(settings, lesson)) for lesson in lessons]
    for number, env in enumerate(seen):
        for name in ("observation_space", "action_space"):
            ours, first = getattr(env, name), getattr(seen[0], name)
            if ours != first:
                raise ValueError(f"lessons: lesson {number} has the {name} {ours}, the first one {first}")
        env.close()
    return Curriculum(lessons, partial(lesson_env, settings))


def lesson_env(settings: Settings, number: int) -> VecEnv:
    """The environments of a lesson, among them those that review the earlier ones."""
    lessons = settings.lessons or (Lesson({}),)
    review = min(round(settings.review * settings.n_envs), settings.n_envs - 1) if number else 0
    counts = {number: settings.n_envs - review}
    for place in range(review):  # dealt to the earlier lessons in turn, the latest first
        earlier = number - 1 - place % number
        counts[earlier] = counts.get(earlier, 0) + 1
    parts = [
        make_env(settings.env, count, seed=settings.seed + 10_007 * part, **env_kwargs(settings, lessons[lesson]))
        for part, (lesson, count) in enumerate(counts.items())
    ]
    return parts[0] if len(parts) == 1 else JoinedVecEnv(parts)


def env_kwargs(settings: Settings, lesson: Lesson) -> dict[str, Any]:
    """The parameters of a lesson's environments: on ``split="train"`` where there is a split and none is named."""
    kwargs = {**settings.env_kwargs, **lesson.env_kwargs}
    return {"split": "train", **kwargs} if has_split(settings.env, **kwargs) else kwargs


def make_agent(algorithm: type[A], settings: Settings, curriculum: Curriculum) -> A:
    """The agent in the environments of its lesson: a new one in a new run folder, or the one that is resumed.

    :raises ValueError: for what the algorithm, its core or the run folder does not allow
    """
    if settings.resume is not None:
        folder = Path(settings.resume)
        lesson = saved_lesson(folder, len(curriculum.lessons))
        return algorithm.resume(folder, curriculum.make_env(lesson), settings.device)
    agent = algorithm("MlpPolicy", curriculum.make_env(0), **settings.hyperparameters())
    if settings.init_from is not None:
        take_weights(agent, Path(settings.init_from))
    agent.run_dir = new_run_folder(settings)
    write_config(settings, agent.run_dir)
    return agent


def saved_lesson(folder: Path, count: int) -> int:
    """The number of the lesson in which a run was saved, below ``count``."""
    path = folder / run_folder.STATE_FILE
    lesson = checkpoint.read_tree(path)
    try:
        lesson = lesson["counters"]["lesson"]
    except (KeyError, TypeError):
        lesson = None
    if not isinstance(lesson, int) or not 0 <= lesson < count:
        raise CheckpointError(f"{path} is damaged: it names no lesson of the run")
    return lesson


def take_weights(agent: MemoryAlgorithm, folder: Path) -> None:
    """Begin with the weights of another run.

    :raises CheckpointError: if its spaces or its core are others
    """
    saved = run_folder.read_description(folder)
    for name in ("observation_space", "action_space"):
        theirs, ours = space_from_json(saved[name]), getattr(agent, name)
        if theirs != ours:
            raise CheckpointError(f"init_from {folder}: its {name} is {theirs}, this run's is {ours}")
    core, own = (kwargs.get("core") for kwargs in (saved["policy_kwargs"], agent.policy_kwargs))
    if core != own:
        raise CheckpointError(f"init_from {folder}: its core is {core}, this run's is {own}")
    agent.set_parameters(folder)


def new_run_folder(settings: Settings) -> Path:
    """An empty folder: the one asked for, or a new one named after the settings.

    :raises ValueError: if there is something in the folder asked for, and it is not a run to overwrite
    """
    if settings.run_dir is None:
        name = re.sub(r"[^\w.-]+", "-", f"{settings.env.rpartition('/')[2]}-{settings.agent}-{settings.seed}")
        return _first_new(Path("runs") / name)
    folder = Path(settings.run_dir)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        if not settings.overwrite:
            raise ValueError(f"run_dir {folder} exists; add --overwrite to replace it, or --resume it to go on with it")
        if not (folder / CONFIG_FILE).is_file():
            raise ValueError(f"run_dir {folder} exists and is no run, so it is not overwritten")
        _remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _first_new(base: Path) -> Path:
    """``base``, ``base-2``, ``base-3``, …: the first that did not exist, made."""
    number = 1
    while True:
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def _remove_run(folder: Path) -> None:
    """Remove what a run writes, and nothing else that a person may have put there."""
    files = (CONFIG_FILE, run_folder.POLICY_FILE, run_folder.WEIGHTS_FILE, PROGRESS_FILE)
    for name in (*files, LEARNING_CURVE, EVALUATION_FILE):
        (folder / name).unlink(missing_ok=True)
    for name in (run_folder.STATE_FILE.parent.name, "tb"):
        shutil.rmtree(folder / name, ignore_errors=True)


# --- learning -------------------------------------------------------------------------------------------------------


def learn(agent: MemoryAlgorithm, settings: Settings, curriculum: Curriculum) -> None:
    """Learn until the steps are made or the curriculum is, then leave a checkpoint and the learning curve.

    :raises KeyboardInterrupt: after Ctrl-C, when all is saved; its message says how to go on
    :raises FloatingPointError: if a loss is not finite; the last checkpoint is kept
    """
    folder, resumed = agent.run_dir, settings.resume is not None
    assert folder is not None
    weights = sum(p.numel() for p in agent.policy.parameters())
    print(
        f"{folder}: {settings.algorithm} ({settings.agent}, {weights:,} weights) on {settings.env}, "
        f"{agent.n_envs} environments, {agent.device}"
    )
    steps = agent.remaining_timesteps if resumed else settings.total_timesteps
    with stop_on_interrupt(agent) as interrupted:
        agent.learn(steps, curriculum, reset_num_timesteps=not resumed, progress_bar=True)
    agent.save(folder)
    learning_curve([folder], folder / LEARNING_CURVE)
    if interrupted:
        raise KeyboardInterrupt(
            f"stopped and saved after {agent.num_timesteps:,} steps; go on with: python {sys.argv[0]} --resume {folder}"
        )


@contextlib.contextmanager
def stop_on_interrupt(agent: MemoryAlgorithm) -> Iterator[list[int]]:
    """Ctrl-C lets the agent learn from the present window before it stops; a second one stops at once.

    :return: a list, empty until Ctrl-C
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield signals
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        signals.append(number)
        agent.stop()
        signal.signal(signal.SIGINT, before)
        print("\nstopping after this window; once more stops at once", file=sys.stderr)

    signal.signal(signal.SIGINT, stop)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGINT, before)


# --- after learning -------------------------------------------------------------------------------------------------


class Evaluation(NamedTuple):
    """What agents scored, and where."""

    env: str
    env_kwargs: dict[str, Any]
    episodes: int
    seed: int
    scores: dict[str, Scores]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**self._asdict(), "scores": scores_json(self.scores)}

    @property
    def title(self) -> str:
        """What it was about."""
        kwargs = ", ".join(f"{name}={value}" for name, value in self.env_kwargs.items())
        return f"{self.env}{f' ({kwargs})' if kwargs else ''}, {self.episodes} episodes"


def evaluate_run(
    folder: Path,
    env: str | None = None,
    kwargs: dict[str, Any] | None = None,
    split: str | None = None,
    episodes: int = 500,
    seed: int = EVALUATION_SEED,
    device: str = "auto",
    slots: int | None = None,
) -> Evaluation:
    """The scores of a run's agent beside those of the baselines.

    :param folder: the run's
    :param env: id of an environment; by default the run's own, as in its last lesson
    :param kwargs: its parameters; they add to the run's where the environment is the run's
    :param split: ``"train"`` or ``"test"``; by default ``"test"`` where there is one
    :param episodes: for each agent
    :param seed: of the environments
    :param device: of the policy
    :param slots: of its memory; by default as many as it was trained with
    :raises CheckpointError: if the run cannot be loaded, or its spaces are not the environment's
    """
    positive_int("episodes", episodes)
    env, kwargs = evaluation_env(folder, env, kwargs, split)
    agent = load_agent(folder, make_env(env, min(episodes, EVALUATION_ENVS), **kwargs), device, slots)
    scores = compare({"agent": agent, **baselines(agent.env, seed)}, agent.env, episodes, seed)
    agent.env.close()
    return Evaluation(env, kwargs, episodes, seed, scores)


def show_evaluation(folder: Path, episodes: int, device: str = "auto") -> None:
    """Evaluate a run in its own environment, on levels held out where there are any; print the table and keep it.

    :param episodes: for each agent; with 0 nothing is evaluated
    """
    if episodes:
        evaluation = evaluate_run(folder, episodes=episodes, device=device)
        checkpoint.write_json(folder / EVALUATION_FILE, evaluation.to_json())
        Console().print(scores_table(evaluation.title, evaluation.scores))
    print(f"all of it is in {folder}")


def scenes(
    folder: Path,
    env: str | None = None,
    kwargs: dict[str, Any] | None = None,
    split: str | None = None,
    episodes: int = 1,
    seed: int = EVALUATION_SEED,
    device: str = "auto",
    slots: int | None = None,
) -> list[list[np.ndarray]]:
    """What a run's agent does, in pictures; parameters as of :func:`evaluate_run`.

    :return: for each episode the environment's ``rgb_array`` pictures (H, W, 3), from its first to its last observation
    """
    env, kwargs = evaluation_env(folder, env, kwargs, split)
    single = make_single_env(env, **{**kwargs, "render_mode": "rgb_array"})
    # The camera is inside the VecEnv, which resets within the step and so never shows how an episode ended.
    camera = RenderCollection(single, pop_frames=False, reset_clean=False)
    agent = load_agent(folder, camera, device, slots)
    ends = np.cumsum(1 + evaluate(agent, agent.env, episodes, seed=seed).lengths)
    agent.env.close()
    pictures = [np.asarray(frame) for frame in camera.frame_list]
    return [pictures[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def evaluation_env(
    folder: Path, env: str | None = None, kwargs: dict[str, Any] | None = None, split: str | None = None
) -> tuple[str, dict[str, Any]]:
    """The id and the parameters of the environment in which a run is evaluated; see :func:`evaluate_run`."""
    own: dict[str, Any] = {}
    if env is None or (folder / CONFIG_FILE).is_file():
        settings = of_run(folder)
        if env in (None, settings.env):
            last = settings.lessons[-1].env_kwargs if settings.lessons else {}
            env, own = settings.env, {**settings.env_kwargs, **last}
            own.pop("split", None)
    kwargs = {**own, **(kwargs or {})}
    if split is None and "split" not in kwargs and has_split(env, **kwargs):
        split = "test"
    return env, kwargs if split is None else {**kwargs, "split": split}


def load_agent(folder: Path, env: Any, device: str = "auto", slots: int | None = None) -> MemoryAlgorithm:
    """The agent of a run, whatever it learned by, in an environment.

    :param env: wrapped as the agent needs it; ``agent.env`` is the result
    :param slots: of its memory; by default as many as it was trained with
    :raises CheckpointError: if the run cannot be loaded, or its spaces are not the environment's
    """
    kinds: dict[str, type[MemoryAlgorithm]] = {kind.__name__: kind for kind in (RecurrentPPO, Imitation, NEC, MFEC)}
    algorithm = run_folder.read_description(folder)["algorithm"]
    if algorithm not in kinds:
        raise CheckpointError(f"{folder} holds an agent of {algorithm!r}; known are {', '.join(kinds)}")
    # Minibatches are learned from, and there may be more of them than environments here.
    changes = {"n_minibatches": None} if "n_minibatches" in kinds[algorithm].hyperparameters else {}
    return kinds[algorithm].load(folder, env, device, slots, **changes)
