"""Description of an exported step that its file carries."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

from memagents.environments.conditioning import CONDITION_ENTRIES, CONDITIONS
from memagents.environments.spaces import space_to_json
from memagents.export.names import EPISODE_START, NEXT, STATE, leaves_by_path
from memagents.export.step import PolicyStep
from memagents.runs.plain_values import encode

FORMAT = 1
_MEMORY = ("core", "core_kwargs", "critic_core", "critic_core_kwargs")


def described(step: PolicyStep, run: dict[str, Any]) -> dict[str, Any]:
    """Return what a user of the file has to know, as plain values.

    :param run: contents of ``policy.json``
    """
    policy = step.policy
    defaults = inspect.signature(type(policy)).parameters
    memory = {name: encode(policy.made_with.get(name, defaults[name].default), name) for name in _MEMORY}
    initial = leaves_by_path(policy.initial_state(1), STATE)
    return {
        "format": FORMAT,
        "memagents": version("memagents"),
        "algorithm": run["algorithm"],
        "num_timesteps": run["num_timesteps"],
        **memory,
        "observation_space": space_to_json(policy.observation_space),
        "action_space": space_to_json(policy.action_space),
        "previous": [word for word, entry in zip(CONDITIONS, CONDITION_ENTRIES, strict=True) if entry in step.entries],
        "normalization": None if step.normalization is None else step.normalization.facts(),
        "inputs": {name: _facts(tensor) for name, tensor in step.example(1).items()},
        "complex": [path for path, leaf in initial.items() if leaf.is_complex()],
        "start": (
            f"zeros for every input {STATE}.*, and {EPISODE_START} true, by which the step begins with the policy's "
            f"own initial state; then every output {NEXT}.* is the next step's {STATE}.*"
        ),
    }


def _facts(tensor: Any) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape[1:])}
