"""Runs of a table: how one is trained, and what it scores in the tests."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.environments.make import make_env
from memagents.experiments.configuration import gone_on_with
from memagents.experiments.evaluation import Agent, evaluate
from memagents.experiments.evaluation_settings import EVALUATION_SEED
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.run import Run, evaluation_env
from memagents.experiments.settings import TrainSettings
from memagents.experiments.training import learn, make_agent
from memagents.runs.layout import MANIFEST_FILE, PROGRESS_FILE, remove_whole
from memagents.runs.progress import read_progress, seconds_of

OF_TESTS = ("env", "metric", "sampled", "slots")  # what a test says beside parameters of its environment
COMPILING = 2  # windows at the beginning in which functions are compiled; they count as long as those after them


class KeptInTime(BaseCallback):
    """Keeps the agent as it is after some seconds of a processor, however busy the machine is with other work.

    :param seconds: of learning by one thread, begun anew or gone on with
    :param folder: becomes a run folder without settings, once
    """

    def __init__(self, seconds: float, folder: Path):
        super().__init__()
        self.seconds, self.folder = seconds, folder
        self.windows = 0

    def _on_training_start(self) -> None:
        if not self.num_timesteps:
            remove_whole(self.folder)  # of a training before

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.windows += 1
        now, steps = time.process_time(), self.num_timesteps
        if self.windows == COMPILING:
            self.begun, self.before = now, steps
        if self.windows <= COMPILING or (self.folder / MANIFEST_FILE).is_file():
            return
        if steps * (now - self.begun) >= self.seconds * (steps - self.before):
            self.model.save(self.folder)


def trained(
    settings: TrainSettings, folder: Path, tests: Iterable[dict[str, Any]], *callbacks: BaseCallback
) -> tuple[MemoryAlgorithm, float]:
    """Train an agent, or go on where just this training was stopped.

    :param folder: the ``run_dir`` of the settings
    :param tests: that the agent will have; one with a mistake ends the training before it begins
    :param callbacks: of the training
    :return: the agent, and the minutes that it took in all
    :raises ValueError: if the environment of a test cannot be made
    """
    for test in tests:
        test_env(settings, test).close()
    settings = gone_on_with(settings)
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    learn(agent, settings, curriculum, callbacks)
    return agent, seconds_of(read_progress(folder / PROGRESS_FILE)) / 60


def mean_score(
    run: Run,
    test: dict[str, Any],
    episodes: int,
    metric: str = "success",
    sampled: bool = False,
    slots: int | None = None,
    seed: int = EVALUATION_SEED,
) -> float:
    """Return a run's mean score in the episodes of a test.

    :param test: changes to the parameters of its environment; ``env`` gives another id, ``metric``, ``sampled`` and
        ``slots`` what stands in place of those below
    :param episodes: how many
    :param metric: ``success``, ``return`` or a metric of the environment
    :param sampled: act by sampled actions instead of the most likely ones
    :param slots: of its memory, where the core has slots, if not as many as in training
    :param seed: of the episodes
    """
    assert run.settings is not None
    has_slots = "slots" in run.settings.core_kwargs  # type: ignore[attr-defined]
    env = test_env(run.settings, test, min(episodes, 100))
    agent = run.load_agent(env, slots=test.get("slots", slots) if has_slots else None)
    likely = not test.get("sampled", sampled)
    return score_of(agent, agent.env, episodes, test.get("metric", metric), likely, seed)


def test_env(settings: TrainSettings, test: dict[str, Any], n_envs: int = 1) -> VecEnv:
    """Make the environments of a test for agents of some settings.

    :raises ValueError: if a parameter of the test, or of the training it adds to, is not one of the environment
    """
    parameters = {name: value for name, value in test.items() if name not in OF_TESTS}
    env, kwargs = evaluation_env(settings, test.get("env"), parameters)
    return make_env(env, n_envs, **kwargs)


def score_of(
    agent: Agent, env: VecEnv, episodes: int, metric: str, likely: bool = True, seed: int = EVALUATION_SEED
) -> float:
    """Return the mean score of an agent; parameters as in :func:`mean_score`, ``likely`` for the likeliest actions."""
    played = evaluate(agent, env, episodes, likely, seed=seed)
    measured = {"success": played.success, "return": played.returns, **played.metrics}[metric]
    assert measured is not None
    return float(measured.mean())
