"""Settings of what a trained agent plays: evaluations, and episodes that are looked into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from memagents.checks import positive_int, seed_int
from memagents.experiments.options import Pairs, in_words, some_pairs

EVALUATION_SEED = 1_000_000  # unlike the seeds that trainings are given
EVALUATION_ENVS = 64  # side by side, at most


@dataclass(kw_only=True)
class PlaySettings:
    """Settings of the episodes that the agent of a run plays.

    :param env: id of an environment with the run's spaces, or "package:Id"; by default the run's own, as in its last
        lesson
    :param env_kwargs: its parameters, as key=value with values in YAML; they add to the run's where --env is the run's
    :param split: levels to play; by default test, where the environment has splits
    :param episodes: episodes of each agent
    :param seed: seed of the environments and of sampled actions
    :param device: auto, cpu, cuda or cuda:N
    """

    env: str | None = None
    env_kwargs: Pairs = field(default_factory=dict)
    split: Literal["train", "test"] | None = None
    episodes: int = 500
    seed: int = EVALUATION_SEED
    device: str = "auto"

    def __post_init__(self) -> None:
        positive_int("episodes", self.episodes)
        seed_int("seed", self.seed)


@dataclass(kw_only=True)
class EvaluationSettings(PlaySettings):
    """Settings of an evaluation: where the agent of a run acts, and how.

    :param slots: slots of the memory; by default as many as it was trained with
    :param stochastic: act by sampled actions only, as in training; by default the scores of the most likely actions and
        of sampled ones are shown
    :param over: a parameter of the environment and several values of it, such as length=[10,100,1000]: the scores over
        these, without random play and the oracle
    """

    slots: int | None = None
    stochastic: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    over: Annotated[dict[str, Any], some_pairs("over", "memagents evaluate RUN --over 'length=[10,100]'")] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        values = list(self.over.values())
        if self.over and (len(values) != 1 or not isinstance(values[0], list) or not values[0]):
            raise ValueError(
                f"over must be one parameter with a list of values, key=[1,2,3], not {in_words(self.over)}"
            )
        both = self.over.keys() & self.env_kwargs.keys()
        if both:
            raise ValueError(f"over: {both.pop()} is also in env_kwargs; give it once")
