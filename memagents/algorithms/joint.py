"""Algorithms that learn in several processes at once, each in environments of its own: :mod:`memagents.ranks`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch
from stable_baselines3.common.utils import set_random_seed

from memagents import ranks
from memagents.algorithms.saved_algorithm import SavedAlgorithm
from memagents.runs.layout import STATE_FILE
from memagents.runs.trees import tree_bytes, tree_of

_SEEDS = 2**32  # which NumPy takes


class JointAlgorithm(SavedAlgorithm):
    """Algorithm of which each process has a part: its environments, their memory, and random states."""

    learns_together: ClassVar[bool] = False  # whether its ``train`` puts together what all ranks have seen

    @classmethod
    def check_ranks(cls) -> None:
        """:raises ValueError: for an algorithm that learns in one process, where there are several"""
        if ranks.size() > 1 and not cls.learns_together:
            raise ValueError(f"{cls.__name__} learns in one process, and not in {ranks.size()}")

    def join_ranks(self) -> None:
        """Begin with the first rank's weights, and with draws and episodes that no other rank has.

        :raises ValueError: for an algorithm that learns in one process, or different numbers of environments
        """
        if ranks.size() == 1:
            return
        self.check_ranks()
        counts = [int(count) for count in ranks.gathered(str(self.n_envs).encode())]
        if len(set(counts)) > 1:
            raise ValueError(f"env: all processes must have as many environments, not {counts}")
        ranks.take_first([*self.policy.parameters(), *self.policy.buffers()])
        if not self.apart:
            self._move_apart()

    def _move_apart(self) -> None:
        """Seed what this rank draws, and its environments as the further ones of a larger batch."""
        self.apart, number = True, ranks.rank()
        if number == 0:
            return
        base = torch.initial_seed() if self.seed is None else self.seed
        set_random_seed((base + number) % _SEEDS, using_cuda=self.device.type == "cuda")
        if self.seed is not None:
            assert self.env is not None
            self.env.seed((self.seed + number * self.n_envs) % _SEEDS)

    @contextlib.contextmanager
    def parts_of_others(self) -> Iterator[None]:
        """Have what the other ranks need to go on, for a checkpoint of them all."""
        if ranks.size() > 1:
            parts = ranks.gathered(tree_bytes(self.own_part()) if ranks.rank() else b"")
            self.others = [tree_of(part, Path(STATE_FILE)) for part in parts[1:]] if self.run_dir is not None else []
        try:
            yield
        finally:
            self.others = []
            ranks.wait()  # or another rank might read the checkpoint before
