"""Algorithms that report how they do: statistics of finished episodes, rows of the log."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import safe_mean

from memagents import ranks
from memagents.environments.guidance import measure


class ReportingAlgorithm(BaseAlgorithm):
    """Stable-Baselines3's algorithm with its statistics: of its last episodes, and of its speed."""

    iteration: int
    episodes_here = 0  # since the environments were last set
    _began = 0  # of the present ``learn``, by a clock that nobody sets

    def mean_return(self) -> float | None:
        """Compute the mean return of the training's last episodes; None while there are none, or it is not finite."""
        episodes = self.ep_info_buffer
        mean = float(safe_mean([episode["r"] for episode in episodes])) if episodes else math.nan
        return mean if math.isfinite(mean) else None

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._began = time.monotonic_ns()
        self._unshared: list[tuple[dict[str, Any] | None, float | None]] = []
        return super()._setup_learn(*args, **kwargs)

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        """Remember the statistics of finished episodes; those of several processes at the end of a window."""
        for info in infos:
            success = None if "review" in info else measure(info, "success")
            if ranks.size() == 1:
                self._count_in(info.get("episode"), success)
            else:
                self._unshared.append((info.get("episode"), success))

    def share_episodes(self) -> None:
        """Remember the episodes that all processes have finished, in the same order everywhere."""
        if ranks.size() == 1:
            return
        own = [
            (*((math.nan, 0) if episode is None else (episode["r"], episode["l"])), math.nan if won is None else won)
            for episode, won in self._unshared
        ]
        self._unshared.clear()
        for data in ranks.gathered(np.array(own, np.float64).tobytes()):
            for total, length, won in np.frombuffer(data).reshape(-1, 3).tolist():
                self._count_in({"r": total, "l": int(length)} if length else None, None if math.isnan(won) else won)

    def _count_in(self, episode: dict[str, Any] | None, success: float | None) -> None:
        assert self.ep_info_buffer is not None
        assert self.ep_success_buffer is not None
        if episode is not None:
            self.ep_info_buffer.append(episode)
            self.episodes_here += 1
        if success is not None:
            self.ep_success_buffer.append(success)
        self._episode_num += 1

    def record_means(self, figures: dict[str, list[float]]) -> None:
        """Log the means of the figures that the minibatches of a window reported."""
        for name, values in figures.items():
            self.logger.record(f"train/{name}", float(np.mean(values)))

    def recent_figures(self) -> dict[str, str]:
        """Return how the agent has done of late, in a few words for a progress bar."""
        figures = {}
        mean_return = self.mean_return()
        if mean_return is not None:
            figures["return"] = f"{mean_return:.2f}"
        if self.ep_success_buffer:
            figures["success"] = f"{safe_mean(self.ep_success_buffer):.0%}"
        return figures

    def dump_logs(self) -> None:
        """Write one row of the log."""
        log = self.logger
        if self.ep_info_buffer:
            log.record("rollout/ep_rew_mean", safe_mean([episode["r"] for episode in self.ep_info_buffer]))
            log.record("rollout/ep_len_mean", safe_mean([episode["l"] for episode in self.ep_info_buffer]))
        if self.ep_success_buffer:
            log.record("rollout/success_rate", safe_mean(self.ep_success_buffer))
        log.record("time/iterations", self.iteration, exclude="tensorboard")
        log.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        elapsed = max(time.monotonic_ns() - self._began, 1) / 1e9
        log.record("time/time_elapsed", round(elapsed, 1), exclude="tensorboard")
        log.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / elapsed))
        log.dump(step=self.num_timesteps)
