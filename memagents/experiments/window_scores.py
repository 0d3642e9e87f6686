"""Learning curve of a training without a run folder: how its episodes went, window by window."""

from __future__ import annotations

from typing import Literal

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.environments.guidance import measure


class WindowScores(BaseCallback):
    """Callback that notes the score after each window: the mean over the environments of their last finished episodes.

    So an environment counts as much as another, however long its episodes are; before the end of its first one it
    counts as 0.

    :param score: ``"success"``, or the ``"return"`` that the environment pays (as a ``Monitor`` tells it)
    :param steps: after which the training stops, if not at the end of its schedules
    """

    def __init__(self, score: Literal["success", "return"], steps: int | None = None):
        super().__init__()
        self.score, self.steps = score, steps
        self.curve: list[float] = []
        self._last = np.zeros(0)  # score of each environment

    def _on_training_start(self) -> None:
        self._last = np.zeros(self.training_env.num_envs)

    def _on_step(self) -> bool:
        for row in np.flatnonzero(self.locals["dones"]):
            info = self.locals["infos"][row]
            score = info["episode"]["r"] if self.score == "return" else measure(info, "success")
            if score is None:
                raise ValueError("score: the infos of the environment have no 'success'")
            self._last[row] = score
        return True

    def _on_rollout_end(self) -> None:
        self.curve.append(float(self._last.mean()))
        if self.steps is not None and self.num_timesteps >= self.steps:
            assert isinstance(self.model, MemoryAlgorithm)
            self.model.stop()

    @property
    def area(self) -> float:
        """Mean of the curve over the steps of the training: the area under it, in units of the score."""
        return float(np.mean(self.curve))

    @property
    def final(self) -> float:
        """Mean of the curve over the last tenth of the steps."""
        return float(np.mean(self.curve[-max(1, round(len(self.curve) / 10)) :]))
