"""The policies of episodic control: a key for each situation, and what a dictionary remembers of those alike.

Letters in shapes: T steps, B batch rows, W width of a key, A actions.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from memagents.checks import in_range, positive_int
from memagents.cores.core import State
from memagents.nec.dictionary import Dictionary
from memagents.nec.situations import situation_numbers
from memagents.policies.core_policy import Acted, CorePolicy, layer_sizes
from memagents.policies.encoding import Observations, encoded_size, joined, map_observations


class Estimated(NamedTuple):
    """One step: the value of every action (B, A), the key of the situation (B, W), the core's state after it."""

    values: Tensor
    keys: Tensor
    state: State


class EpisodicPolicy(CorePolicy):
    """Encoder → core → key → the dictionaries of all actions (Pritzel et al. 2017, figure 1).

    With ``core="none"`` this is the paper's agent, for which a situation is an observation; with another core it is
    the episode's history.

    :param observation_space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these
    :param action_space: Discrete
    :param lr_schedule: learning rate as a function of the remaining progress
    :param core: name of the memory within an episode, see :func:`memagents.core_names`
    :param core_kwargs: its parameters
    :param key_size: width W of a key
    :param capacity: entries that the dictionary of an action can have
    :param neighbours: p, how many entries an estimate is made of
    :param delta: δ of the kernel, what is added to squared distances
    :param write_rate: α, by how much a value moves when its situation is written again
    :param net_arch: hidden layers between the core and the key
    :param activation_fn: of these
    :param key_gain: of the orthogonal initial weights of these and of the key's layer; the farther apart keys begin,
        beside √δ, the more a situation counts for itself, also where its stored key is a little out of date; the
        nearer, the more its neighbours count
    :param features_extractor_class: SB3 extractor used as the encoder; by default by the space
    :param features_extractor_kwargs: its parameters
    :param normalize_images: divide images by 255
    :param optimizer_class: of the encoder and the core; Adam unless another is given
    :param optimizer_kwargs: its parameters, without the learning rate
    :param encoder: for observations of three dimensions without an extractor of their own: ``"grid"`` for codes such as
        MiniGrid's, ``"cnn"`` for pictures, ``"flat"``, or ``"auto"`` for a guess by their shape; for a Dict also a
        dict of such words by the names of entries
    :param encoder_layers: hidden layers between the encoder and the memory
    :raises ValueError: for actions that are not Discrete, or a value that is not allowed
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        core: str = "none",
        core_kwargs: dict[str, Any] | None = None,
        key_size: int = 64,
        capacity: int = 100_000,
        neighbours: int = 50,
        delta: float = 1e-3,
        write_rate: float = 0.1,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        key_gain: float = 4.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        encoder: str | dict[str, str] = "auto",
        encoder_layers: list[int] | None = None,
    ):
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(f"episodic control needs Discrete actions, not {type(action_space).__name__}")
        super().__init__(
            observation_space,
            action_space,
            core,
            core_kwargs,
            features_extractor_class,
            features_extractor_kwargs,
            normalize_images,
            optimizer_class,
            optimizer_kwargs,
            encoder,
            encoder_layers,
        )
        key_size, hidden = positive_int("key_size", key_size), layer_sizes([64] if net_arch is None else net_arch)
        self.key_gain = in_range("key_gain", key_gain, 0)
        self.key_net = self.make_key_net(key_size, hidden, activation_fn)
        how = {"capacity": capacity, "neighbours": neighbours, "delta": delta, "rate": write_rate}
        self.dictionary = self.make_dictionary(int(action_space.n), key_size, **how)
        self.optimizer = self._make_optimizer(lr_schedule(1))

    def make_key_net(self, key_size: int, net_arch: list[int], activation_fn: type[nn.Module]) -> nn.Module:
        """Make the layers from the core's outputs to keys (..., W)."""
        layers = nn.Sequential(*create_mlp(self.core.output_size, key_size, net_arch, activation_fn))
        return layers.apply(partial(self.init_weights, gain=self.key_gain))

    def make_dictionary(self, n_actions: int, key_size: int, **kwargs: Any) -> Dictionary:
        """The dictionaries of all actions."""
        return Dictionary(n_actions, key_size, **kwargs)

    def keys(self, observations: Observations, state: State, starts: Tensor) -> tuple[Tensor, State, dict[str, Tensor]]:
        """The situations of a window.

        :param observations: (T, B, ...)
        :param state: before the window, leaves (B, ...)
        :param starts: (T, B) booleans, true where the observation begins an episode
        :return: keys (T, B, W), the state after the window, the core's own losses
        """
        outputs, state, losses = self.unroll(observations, state, starts)
        return self.key_net(outputs), state, losses

    @torch.no_grad()
    def estimate(
        self,
        observations: Observations,
        state: State,
        starts: Tensor,
        touch: bool = True,
    ) -> Estimated:
        """The values of all actions for one step of observations (B, ...).

        :param starts: (B,) booleans
        :param touch: whether the neighbours count as used, and so stay for longer
        """
        window = map_observations(lambda values: values[None], observations)
        keys, state, _ = self.keys(window, state, starts[None])
        return Estimated(
            self.dictionary.lookup_all(keys[0], ids=self.own_ids(observations), touch=touch), keys[0], state
        )

    def own_ids(self, observations: Observations) -> Tensor | None:
        """Ids, int64 (B,), of observations (B, ...) that answer for themselves where they are remembered.

        None: here an estimate is always made of the neighbours.
        """
        return None

    def forward(self, observations: Observations, state: State, starts: Tensor, deterministic: bool = True) -> Acted:
        """The best action by what is remembered, for one step of observations (B, ...); nothing counts as used."""
        values, keys, state = self.estimate(observations, state, starts, touch=False)
        return Acted(values.argmax(1), keys, state)

    remembers: ClassVar[bool] = True

    def lasting_memory(self) -> dict[str, Any]:
        return self.dictionary.tree()

    def restore_lasting_memory(self, tree: dict[str, Any]) -> None:
        self.dictionary.restore(tree)


class RawEncoder(BaseFeaturesExtractor):
    """Return all numbers of an observation in a row: codes one-hot, images in [0, 1].

    :param observation_space: anything that the agents know
    """

    def __init__(self, observation_space: spaces.Space):
        entries = (
            observation_space.spaces.values() if isinstance(observation_space, spaces.Dict) else [observation_space]
        )
        super().__init__(observation_space, max(1, sum(encoded_size(entry) for entry in entries)))

    def forward(self, observations: Observations) -> Tensor:
        """(B, ...), or a dict of these, to (B, features)."""
        return joined(list(observations.values()) if isinstance(observations, dict) else [observations])


class ProjectionPolicy(EpisodicPolicy):
    """Nothing but the dictionaries: keys are random projections of the observations (Blundell et al. 2016, section 3).

    :param observation_space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these
    :param action_space: Discrete
    :param lr_schedule: not used: nothing is learned by gradients
    :param key_size: width W of a key
    :param capacity: entries that the dictionary of an action can have
    :param neighbours: k, how many entries the estimate of an unknown situation is the mean of
    :param search: ``"exact"``, or ``"faiss"`` (needs the package faiss-cpu)
    :param normalize_images: divide images by 255
    :raises ValueError: for actions that are not Discrete, or a value that is not allowed
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        key_size: int = 64,
        capacity: int = 100_000,
        neighbours: int = 11,
        search: str = "exact",
        normalize_images: bool = True,
    ):
        self.search = search
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            key_size=key_size,
            capacity=capacity,
            neighbours=neighbours,
            core_kwargs={"hidden_size": 1},  # has no part in it
            features_extractor_class=RawEncoder,
            normalize_images=normalize_images,
        )
        self.requires_grad_(False)

    def make_key_net(self, key_size: int, net_arch: list[int], activation_fn: type[nn.Module]) -> nn.Module:
        projection = nn.Linear(self.features_extractor.features_dim, key_size, bias=False)
        nn.init.normal_(projection.weight, std=key_size**-0.5)  # distances stay what they were, on average
        return projection

    def unroll(
        self, observations: Observations, state: State, starts: Tensor
    ) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Past the core, whose layer would bend the projections: the encoded observations (T, B, I) as they are."""
        return self.encode(observations), state, {}

    def make_dictionary(self, n_actions: int, key_size: int, **kwargs: Any) -> Dictionary:
        return Dictionary(n_actions, key_size, kernel="mean", rule="max", search=self.search, **kwargs)

    def own_ids(self, observations: Observations) -> Tensor:
        """Return that all do (Blundell et al. 2016, equation 2)."""
        arrays = map_observations(lambda values: values.cpu().numpy(), observations)
        return torch.from_numpy(situation_numbers(arrays, self.observation_space))
