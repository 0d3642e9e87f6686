"""A few windows of random experience, in their order."""

import torch
from gymnasium import spaces

from memagents.bonuses import Experience

ROWS = 3
CODES = spaces.MultiDiscrete([3, 2])
ACTIONS = spaces.Discrete(3)


def stream(steps=30, seed=0, space=CODES):
    """Observations (steps + 1, ROWS, ...) of few kinds, starts and actions."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(space, spaces.MultiDiscrete):
        parts = [torch.randint(int(n), (steps + 1, ROWS), generator=generator) for n in space.nvec]
        observations = torch.stack(parts, -1)
    else:
        observations = torch.randn(steps + 1, ROWS, *space.shape, generator=generator)
    starts = torch.rand(steps + 1, ROWS, generator=generator) < 0.15
    starts[0] = True
    return Experience(observations, starts, torch.randint(3, (steps, ROWS), generator=generator))


def windows(experience, *sizes):
    """The same experience in windows of these sizes, each with the observation after it."""
    first = 0
    for size in sizes:
        end = first + size + 1
        yield Experience(
            experience.observations[first:end], experience.starts[first:end], experience.actions[first : end - 1]
        )
        first += size


def in_windows(bonus, experience, *sizes):
    return torch.cat([bonus.bonus(window) for window in windows(experience, *sizes)])


def episodes(experience):
    """For each row the steps at which an episode begins there, and at last one behind the end."""
    return [[*torch.nonzero(column).flatten().tolist(), len(column)] for column in experience.starts.T]
