"""A look into a memory while it sees a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import Observations, any_entry, map_observations
from memagents.runs.arrays import tensor_of


@torch.no_grad()
def trace(policy: CorePolicy, observations: Any, starts: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Run the plain loop of a policy's memory over a sequence, with every tensor that the core names.

    :param observations: (T, B, ...), or a dict of these
    :param starts: (T, B) booleans, true where an observation begins an episode; by default the first ones alone
    :return: ``outputs`` (T, B, O) and whatever the core traces
    :raises ValueError: for other shapes
    """
    tensors = _window(observations, policy)
    steps, rows = any_entry(tensors).shape[:2]
    begins = torch.zeros(steps, rows, dtype=torch.bool, device=policy.device)
    begins[0] = True
    if starts is not None:
        begins = torch.as_tensor(np.asarray(starts), dtype=torch.bool, device=policy.device)
        if begins.shape != (steps, rows):
            raise ValueError(f"starts must be (T, B) = {(steps, rows)}, not {tuple(begins.shape)}")
    policy.set_training_mode(False)
    encoded = policy.encode(tensors)
    unrolled = policy.core.unroll(encoded, policy.initial_state(rows), begins, trace=True)
    named = {"outputs": unrolled.outputs, **unrolled.trace}
    return {name: tensor.cpu().numpy() for name, tensor in named.items()}


def _window(observations: Any, policy: CorePolicy) -> Observations:
    """Bring a window of observations to the policy's device, if it has the shape of one."""
    space = policy.observation_space
    entries: dict[str, spaces.Space] = dict(space.items()) if isinstance(space, spaces.Dict) else {"": space}
    given = observations if isinstance(space, spaces.Dict) else {"": observations}
    if not isinstance(given, dict) or not entries.keys() <= given.keys():
        raise ValueError(f"observations must be a dict of {', '.join(entries)}, each (T, B, ...)")
    arrays = {name: np.asarray(given[name]) for name in entries}
    leading = next(iter(arrays.values())).shape[:2]
    for name, entry in entries.items():
        shape, called = entry.shape or (), f"observations[{name!r}]" if name else "observations"
        if arrays[name].shape != (*leading, *shape) or len(leading) < 2 or not leading[0]:
            wanted = ", ".join(["T", "B", *map(str, shape)])
            raise ValueError(f"{called} must be ({wanted}), T steps of B environments, not {arrays[name].shape}")
    window = arrays if isinstance(space, spaces.Dict) else arrays[""]
    return map_observations(lambda array: tensor_of(array, policy.device), window)
