"""Base of all policies: encoder → core, as a Stable-Baselines3 policy that carries a memory.

Letters in shapes: T steps, B batch rows, O the core's output size.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, maybe_transpose
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from memagents.checks import boolean, string_keyed
from memagents.cores import core_class, make_core
from memagents.cores.core import MemoryCore, State, state_leaves
from memagents.environments.conditioning import CONDITION_ENTRIES
from memagents.environments.spaces import ObservationCheck
from memagents.policies.encoding import (
    Observations,
    Preprocessor,
    any_entry,
    condition_size,
    encoder_for,
    map_observations,
    seen_of,
)
from memagents.policies.extractors import DeepEncoder, try_extractor
from memagents.policies.repetition import Repetition, may_repeat
from memagents.policies.saved_policy import SavedPolicy
from memagents.runs.arrays import tensor_of


class Acted(NamedTuple):
    """One step of acting: actions (B, ...), what they were chosen by (B, O), the core's state after it.

    What else an actor and a critic say of the step is found for a whole window at once, from the outputs; they are None
    where the memory was not asked. Where the critic's own memory waits, the outputs are the actor's (B, O of it), and
    ``waiting`` is what the critic's will take, (B, X).
    """

    actions: Tensor
    outputs: Tensor | None
    state: State
    waiting: Tensor | None = None


class CorePolicy(SavedPolicy):
    """An encoder and a memory; a subclass adds heads, and ``forward``, which acts.

    :param observation_space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these
    :param action_space: Box, Discrete, MultiDiscrete or MultiBinary
    :param core: name of the memory system, see :func:`memagents.core_names`
    :param core_kwargs: its parameters
    :param features_extractor_class: SB3 extractor used as the encoder; by default by the space
    :param features_extractor_kwargs: its parameters
    :param normalize_images: divide images by 255
    :param optimizer_class: Adam unless another is given
    :param optimizer_kwargs: its parameters, without the learning rate
    :param encoder: for observations of three dimensions without an extractor of their own: ``"grid"`` for codes such as
        MiniGrid's, ``"cnn"`` for pictures, ``"flat"``, or ``"auto"`` for a guess by their shape; for a Dict also a
        dict of such words by the names of entries, where ``"none"`` leaves out what the policy is not to see
    :param encoder_layers: hidden layers between the encoder and the memory, as ``net_arch`` has those behind it; see
        :class:`memagents.policies.extractors.DeepEncoder`
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        core: str,
        core_kwargs: dict[str, Any] | None,
        features_extractor_class: type[BaseFeaturesExtractor] | None,
        features_extractor_kwargs: dict[str, Any] | None,
        normalize_images: bool,
        optimizer_class: type[torch.optim.Optimizer],
        optimizer_kwargs: dict[str, Any] | None,
        encoder: str | dict[str, str] = "auto",
        encoder_layers: list[int] | None = None,
    ):
        if optimizer_kwargs is None:
            optimizer_kwargs = {"eps": 1e-5} if optimizer_class is torch.optim.Adam else {}
        self.seen_space = seen_of(observation_space, encoder)  # what the encoder takes of it
        extractor, kwargs = features_extractor_class, features_extractor_kwargs or {}
        if extractor is None:
            extractor, chosen = encoder_for(observation_space, encoder)
            kwargs = {**chosen, **kwargs}
        elif self.seen_space is not observation_space:
            raise ValueError("encoder leaves out entries: a features_extractor_class has to leave them out itself")
        if layers := layer_sizes([] if encoder_layers is None else encoder_layers, name="encoder_layers"):
            extractor, kwargs = DeepEncoder, {"kind": extractor, "kwargs": kwargs, "layers": layers}
        super().__init__(
            observation_space,
            action_space,
            extractor,
            kwargs,
            normalize_images=boolean("normalize_images", normalize_images),
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )
        self.features_extractor = self.make_features_extractor()
        codes = getattr(self.features_extractor, "takes_codes", False)
        self._preprocess = Preprocessor(self.seen_space, normalize_images, codes)
        if features_extractor_class is not None:
            made = self.features_extractor
            try_extractor(made.encoder if isinstance(made, DeepEncoder) else made, observation_space, self._preprocess)
        # A core may ask how many of its inputs are the last action and reward; other layers may have moved them.
        moved = features_extractor_class is not None or bool(layers)
        self._condition_size = None if moved else condition_size(self.seen_space)
        self.core = self._make_core(core, core_kwargs)
        # An encoder of somebody else's may look at a batch as a whole.
        repeats = features_extractor_class is None and may_repeat(self.seen_space)
        self._encoding = Repetition(self._encode_each, self.parameters, repeats)
        self._projection = Repetition(self._project_each, self.parameters, repeats)

    def _make_core(self, name: str, kwargs: dict[str, Any] | None) -> MemoryCore:
        """Make a memory over the encoder."""
        kwargs = string_keyed("core_kwargs", kwargs)
        if self._condition_size is not None and "condition_size" in inspect.signature(core_class(name)).parameters:
            kwargs.setdefault("condition_size", self._condition_size)
        return make_core(name, int(self.features_extractor.features_dim), **kwargs)

    def _make_optimizer(self, learning_rate: float) -> torch.optim.Optimizer:
        """Two groups of parameters, the memory's and all others, so that the memory can learn at its own rate."""
        memory = {id(p) for p in self.core.parameters()}
        groups = [
            {"name": "policy", "params": [p for p in self.parameters() if id(p) not in memory]},
            {"name": "memory", "params": list(self.core.parameters())},
        ]
        groups = [group for group in groups if group["params"]]
        kwargs = dict(self.optimizer_kwargs)
        plain = all(parameter.is_floating_point() for parameter in self.parameters())
        if self.optimizer_class in (torch.optim.Adam, torch.optim.AdamW) and plain and "foreach" not in kwargs:
            kwargs.setdefault("fused", True)  # one pass over all weights
        return self.optimizer_class(groups, lr=learning_rate, **kwargs)  # type: ignore[call-arg]

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights, and of the numbers that observations become."""
        return next(self.parameters()).dtype

    def initial_state(self, batch_size: int) -> State:
        """The core's state at the beginning of an episode, leaves (B, ...)."""
        return self.core.initial_state(batch_size)

    def encode(self, observations: Observations) -> Tensor:
        """Observations (T, B, ...) to what the core takes (T, B, I)."""
        return self._encoding(self._seen(observations))

    def project(self, observations: Observations) -> Tensor:
        """Observations (T, B, ...) to what the core's recurrence takes, (T, B, X): encoded and projected."""
        return self._projection(self._seen(observations))

    def _seen(self, observations: Observations) -> Observations:
        """The entries that the encoder takes."""
        if self.seen_space is self.observation_space:
            return observations
        assert isinstance(observations, dict)
        assert isinstance(self.seen_space, spaces.Dict)
        return {name: observations[name] for name in self.seen_space}

    def _encode_each(self, observations: Observations) -> Tensor:
        try:
            return self.features_extractor(self._preprocess(observations, self.dtype))
        except (RuntimeError, IndexError):
            _check_numbers(observations, self.seen_space)  # which may be why
            raise

    def _project_each(self, observations: Observations) -> Tensor:
        return self.core.project(self._encode_each(observations))

    def acting(self) -> AbstractContextManager[None]:
        """The context of many steps by the same weights: what :meth:`project` found for an observation is kept.

        Weights that are changed within are noticed, but not if it is by way of ``.data`` or a fused optimiser.
        """
        return self._projection.keeping()

    def unroll(
        self, observations: Observations, state: State, starts: Tensor
    ) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Through encoder and core.

        :param observations: (T, B, ...)
        :param state: before the window, leaves (B, ...)
        :param starts: (T, B) booleans, true where the observation begins an episode
        :return: the core's outputs (T, B, O), the state after the window, the losses that are learned beside the task
        """
        outputs, state, losses, _ = self.core.recur(self.project(observations), state, starts)
        return outputs, state, losses

    def forward(self, observations: Observations, state: State, starts: Tensor, deterministic: bool = False) -> Acted:
        """Act on one step of observations (B, ...).

        :param starts: (B,) booleans
        """
        raise NotImplementedError

    training_heads: ClassVar[tuple[str, ...]] = ()  # names of modules that acting does not need
    remembers: ClassVar[bool] = False  # whether there is anything that is remembered beyond episodes

    def adopted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return another policy's weights as this one can begin with them.

        :param weights: by their names in a state dict; heads for training alone that are not like this policy's are
            left out, and its own put in their place
        """
        own = self.state_dict()
        for head in self.training_heads:
            there, here = (
                {name: weight for name, weight in source.items() if name.startswith(f"{head}.")}
                for source in (weights, own)
            )
            if {name: weight.shape for name, weight in there.items()} != {n: w.shape for n, w in here.items()}:
                weights = {name: weight for name, weight in weights.items() if name not in there} | here
        return weights

    # --- SB3's interface --------------------------------------------------------------------------------------------

    def predict(  # type: ignore[override]
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: State | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, State]:
        """Actions for observations, with the memory carried by the caller.

        :param observation: one observation, or a batch of B
        :param state: what the last call returned; None at the very beginning
        :param episode_start: (B,) booleans, true where the observation begins an episode (its memory is cleared)
        :param deterministic: the most likely action instead of a sampled one
        :return: actions as the action space wants them, and the state to pass to the next call
        :raises ValueError: if the state or ``episode_start`` is of another number of environments, or the observation
            does not fit its space, as what ``reset()`` of a gymnasium environment returns (observation and info)
        :raises FloatingPointError: if an observation is not finite, or what the actions are chosen by, saying whose
        """
        if isinstance(observation, tuple):
            raise ValueError("observation must be an array or a dict of arrays, not a tuple: obs, info = env.reset()")
        if self.training:  # to set it again in every step would take a tenth of it
            self.set_training_mode(False)
        observations, vectorized = self.obs_to_tensor(observation)
        entry = any_entry(observations)
        rows, device = len(entry), entry.device
        if state is None:
            state = self.initial_state(rows)
        leaves = state_leaves(state)
        if leaves and len(leaves[0]) != rows:
            raise ValueError(f"state is of {len(leaves[0])} environments, but observation of {rows}")
        starts = torch.zeros(rows, dtype=torch.bool, device=device)
        if episode_start is not None:
            given = np.asarray(episode_start, dtype=bool)
            if given.shape not in ((), (1,), (rows,)):
                raise ValueError(f"episode_start must be of {rows} environments, not of shape {given.shape}")
            starts |= torch.as_tensor(given, device=device)
        with torch.no_grad():
            acted = self(observations, state, starts, deterministic)
        if not _finite(observations) or (acted.outputs is not None and not acted.outputs.isfinite().all()):
            raise FloatingPointError(_why_not_finite(observations, acted.outputs))
        actions = self.to_env_actions(acted.actions)
        return (actions if vectorized else actions[0]), acted.state

    def obs_to_tensor(self, observation: Any) -> tuple[Observations, bool]:
        """Bring one observation, or a batch of them, to the device.

        :param observation: an array, or a dict of arrays
        :return: tensors (B, ...), with B = 1 for one observation, and whether it was a batch
        :raises ValueError: for an entry that is missing or of another shape, naming it
        """
        space = self.observation_space
        if not isinstance(space, spaces.Dict):
            array, batch = _batch_of(observation, space, "observation")
            return tensor_of(array, self.device), batch
        _check_entries(observation, space)
        parts = {name: _batch_of(observation[name], entry, f"observation[{name!r}]") for name, entry in space.items()}
        if len({batch for _, batch in parts.values()}) > 1:
            single = next(name for name, (_, batch) in parts.items() if not batch)
            raise ValueError(f"observation[{single!r}] is of one environment, other entries of several")
        sizes = sorted({len(array) for array, _ in parts.values()})
        if len(sizes) > 1:
            raise ValueError(f"observation: the entries are of {' and '.join(map(str, sizes))} environments")
        tensors = {name: tensor_of(array, self.device) for name, (array, _) in parts.items()}
        return tensors, all(batch for _, batch in parts.values())

    def to_env_actions(self, actions: Tensor) -> np.ndarray:
        """Actions (B, ...) as the space has them: its type, clipped into a Box, codes from a discrete space's start."""
        array, space = actions.cpu().numpy(), self.action_space
        if isinstance(space, spaces.Box):
            array = np.clip(array, space.low, space.high)
        elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            array = array + space.start
        return array.astype(space.dtype)

    def _predict(self, observation: Observations, deterministic: bool = False) -> Tensor:
        rows = len(any_entry(observation))
        starts = torch.ones(rows, dtype=torch.bool, device=self.device)
        return self(observation, self.initial_state(rows), starts, deterministic).actions


def layer_sizes(net_arch: Any, allowed: str = "a list of sizes", name: str = "net_arch") -> list[int]:
    """Return the sizes of hidden layers.

    :raises ValueError: for anything but a list of positive integers
    """
    good = isinstance(net_arch, list | tuple) and all(
        isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in net_arch
    )
    if not good:
        raise ValueError(f"{name} must be {allowed}, not {net_arch!r}")
    return list(net_arch)


def _check_numbers(observations: Observations, space: spaces.Space) -> None:
    """:raises ValueError: for observations (N, ...) outside their space, if on the CPU: a GPU's errors come too late"""
    entry = any_entry(observations)
    if entry.device.type == "cpu":
        ObservationCheck(space, (len(entry),))(map_observations(np.asarray, observations))


def _batch_of(values: Any, space: spaces.Space, name: str) -> tuple[np.ndarray, bool]:
    """Return values as a batch (B, ...), with the channels where the space has them, and whether they were a batch."""
    array, shape = np.asarray(values), space.shape or ()
    if array.ndim in (3, 4) and is_image_space(space):
        array = maybe_transpose(array, space)
    if array.shape == shape:
        return array[None], False
    if array.ndim == len(shape) + 1 and array.shape[1:] == shape:
        return array, True
    several = ", ".join(["B", *map(str, shape)])
    raise ValueError(f"{name} must have the shape {shape}, or ({several}), not {array.shape}")


def _check_entries(observation: Any, space: spaces.Dict) -> None:
    """Refuse an observation that is no dict, or lacks an entry."""
    needed = ", ".join(space.spaces)
    added = [name for name in space.spaces if name in CONDITION_ENTRIES]
    hint = ""
    if added:
        hint = (
            f"; {' and '.join(added)} come from condition_on: give the environment the same, by "
            "memagents.as_vec_env(env, condition_on=[...]), and pass what it returns"
        )
    if not isinstance(observation, Mapping):
        raise ValueError(f"observation must be a dict with {needed}, not {type(observation).__name__}{hint}")
    missing = [name for name in space.spaces if name not in observation]
    if missing:
        raise ValueError(f"observation must be a dict with {needed}; it lacks {', '.join(missing)}{hint}")


def _finite(observations: Observations) -> bool:
    entries = observations.values() if isinstance(observations, dict) else (observations,)
    return all(bool(values.isfinite().all()) for values in entries if values.is_floating_point())


def _why_not_finite(observations: Observations, outputs: Tensor | None) -> str:
    """Return the message of an error: which observation is not finite, or which environment's memory.

    :param observations: of one step, (B, ...)
    :param outputs: what actions are chosen by, (B, O)
    """
    entries = observations.items() if isinstance(observations, dict) else [("", observations)]
    for name, values in entries:
        if values.is_floating_point() and not values.isfinite().all():
            row = int((~values.isfinite()).flatten(1).any(1).nonzero()[0])
            return f"the observation{f'[{name!r}]' * bool(name)} of environment {row} is not finite"
    assert outputs is not None
    row = int((~outputs.isfinite()).any(1).nonzero()[0])
    return (
        f"what the policy makes of environment {row} is not finite, though its observation is: a weight is very large, "
        "or an observation before it in the episode was"
    )
