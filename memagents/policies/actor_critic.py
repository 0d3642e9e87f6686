"""The policy of most agents: encoder → core → the heads of an actor and a critic.

Letters in shapes: T steps, B batch rows, O the core's output size.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from memagents.checks import boolean, finite, positive_int, string_keyed, warn_user
from memagents.cores.core import State
from memagents.cores.pair import Pair, PairState
from memagents.cores.recompute import unroll_in_chunks
from memagents.policies.core_policy import Acted, CorePolicy, layer_sizes
from memagents.policies.distributions import distribution_for
from memagents.policies.encoding import Observations, map_observations
from memagents.policies.popart import PopArt
from memagents.policies.recall import Recall, lags_of


class Appraised(NamedTuple):
    """Estimates of actor and critic for a window, all (T, B): values, and of the actions in it; entropies in nats.

    ``bonus_values`` are of intrinsic rewards, where the policy has a head for them.
    """

    values: Tensor
    log_probs: Tensor
    entropy: Tensor
    bonus_values: Tensor | None = None


class Evaluated(NamedTuple):
    """A window seen again: everything (T, B) but the state after it and the core's own losses."""

    values: Tensor
    log_probs: Tensor
    entropy: Tensor
    state: State
    losses: dict[str, Tensor]
    bonus_values: Tensor | None = None


class MemoryPolicy(CorePolicy):
    """An actor and a critic over one memory.

    :param observation_space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these
    :param action_space: Box, Discrete, MultiDiscrete or MultiBinary
    :param lr_schedule: learning rate as a function of the remaining progress
    :param core: name of the memory system, see :func:`memagents.core_names`
    :param core_kwargs: its parameters
    :param critic_core: name of a memory of the critic's own, ``"same"`` for one like the actor's, or None to share the
        actor's. :class:`memagents.RecurrentPPO` asks for ``"same"``
    :param critic_core_kwargs: parameters of ``critic_core``; those that ``"same"`` leaves out are the actor's
    :param critic_gradient: whether the critic's loss also trains what it shares with the actor: the encoder, and the
        memory where there is one for both. With sb3-contrib's ``shared_lstm``, it does not train the memory
    :param bonus_head: whether the critic also estimates, by a second head, the return of intrinsic rewards alone
    :param normalize_values: whether the critic's last layer is a :class:`memagents.policies.popart.PopArt`; values are
        in real units all the same
    :param recall_lag: a linear layer predicts, from what the memory gives, the encoded observation of so many steps
        before, or several such for a list of lags, so that a memory which the task does not yet reward is used; None
        for no such loss
    :param recall_weight: of that squared error (its mean over the lags) among the losses
    :param recompute_steps: learn from a window in chunks of so many steps, of which backward computes the inside once
        more, so that a long window or a large memory needs less of the machine's memory; see
        :func:`memagents.cores.recompute.unroll_in_chunks`. None: the window at once
    :param mixed_precision: matrix products in bfloat16, where the device is faster with them; the memory, the
        probabilities and the losses stay as precise as the weights
    :param net_arch: hidden layers of the heads: a list for both, or ``{"pi": [...], "vf": [...]}``
    :param activation_fn: activation of the heads
    :param ortho_init: orthogonal initialisation of the heads, the last layer of the actor by 0.01
    :param log_std_init: initial log standard deviation of Gaussian actions
    :param features_extractor_class: SB3 extractor used as the encoder; by default by the space
    :param features_extractor_kwargs: its parameters
    :param normalize_images: divide images by 255
    :param optimizer_class: Adam unless another is given
    :param optimizer_kwargs: its parameters, without the learning rate
    :param encoder: for observations of three dimensions without an extractor of their own: ``"grid"`` for codes such as
        MiniGrid's, ``"cnn"`` for pictures, ``"flat"``, or ``"auto"`` for a guess by their shape; for a Dict also a
        dict of such words by the names of entries, where ``"none"`` leaves out what the policy is not to see
    :param encoder_layers: hidden layers between the encoder and the memory
    """

    training_heads: ClassVar[tuple[str, ...]] = ("recall_net", "bonus_value_net")

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        core: str = "lstm",
        core_kwargs: dict[str, Any] | None = None,
        critic_core: str | None = None,
        critic_core_kwargs: dict[str, Any] | None = None,
        critic_gradient: bool = True,
        bonus_head: bool = False,
        normalize_values: bool = False,
        recall_lag: int | Sequence[int] | None = None,
        recall_weight: float = 1.0,
        recompute_steps: int | None = None,
        mixed_precision: bool = False,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        activation_fn: type[nn.Module] = nn.Tanh,
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        encoder: str | dict[str, str] = "auto",
        encoder_layers: list[int] | None = None,
    ):
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
        self.critic_gradient = boolean("critic_gradient", critic_gradient)
        critic_memory = critics_own(core, core_kwargs, critic_core, critic_core_kwargs)
        if critic_memory is not None:
            self.core = Pair(self.core, self._make_core(*critic_memory), self.critic_gradient)
        self.recall_lags = lags_of(recall_lag)
        self.recall_weight = finite("recall_weight", recall_weight)
        self.recompute_steps = None if recompute_steps is None else positive_int("recompute_steps", recompute_steps)
        self.mixed_precision = boolean("mixed_precision", mixed_precision)
        actor_width, critic_width = (self.core.output_size,) * 2
        if isinstance(self.core, Pair):
            actor_width, critic_width = self.core.actor.output_size, self.core.critic.output_size
        lags = self.recall_lags
        self.recall_net = Recall(actor_width, self.core.input_size, lags) if lags else None
        hidden = hidden_layers(net_arch)
        distribution: Any = distribution_for(action_space)
        self.action_dist = distribution
        actor = create_mlp(actor_width, -1, hidden["pi"], activation_fn)
        critic = create_mlp(critic_width, -1, hidden["vf"], activation_fn)
        self.actor, self.critic = nn.Sequential(*actor), nn.Sequential(*critic)
        width = [actor_width, *hidden["pi"]][-1]
        self.log_std: nn.Parameter | None = None  # of Gaussian actions
        if isinstance(action_space, spaces.Box):
            self.action_net, self.log_std = distribution.proba_distribution_net(width, log_std_init)
        else:
            self.action_net = distribution.proba_distribution_net(width)
        last = PopArt if boolean("normalize_values", normalize_values) else nn.Linear
        self.value_net: nn.Linear = last([critic_width, *hidden["vf"]][-1], 1)
        self.bonus_value_net = nn.Linear(self.value_net.in_features, 1) if boolean("bonus_head", bonus_head) else None
        if boolean("ortho_init", ortho_init):
            gains = {self.actor: 2**0.5, self.critic: 2**0.5, self.action_net: 0.01, self.value_net: 1}
            if self.bonus_value_net is not None:
                gains[self.bonus_value_net] = 1
            for module, gain in gains.items():
                module.apply(partial(self.init_weights, gain=gain))
        self.optimizer = self._make_optimizer(lr_schedule(1))

    @property
    def dtype(self) -> torch.dtype:
        return self.value_net.weight.dtype

    def adopted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Do as :meth:`CorePolicy.adopted` does; a memory that served both is what each of two alike begins with."""
        weights = super().adopted(weights)
        if not isinstance(self.core, Pair):
            return weights
        theirs = {name.removeprefix("core."): w for name, w in weights.items() if name.startswith("core.")}
        if theirs.keys() & self.core.state_dict().keys():  # of two memories as well
            return weights
        others = {name: weight for name, weight in weights.items() if not name.startswith("core.")}
        return others | {f"core.{half}.{n}": weight for half in ("actor", "critic") for n, weight in theirs.items()}

    # --- windows ----------------------------------------------------------------------------------------------------

    def unroll(
        self, observations: Observations, state: State, starts: Tensor
    ) -> tuple[Tensor, State, dict[str, Tensor]]:
        """Unroll as :meth:`CorePolicy.unroll` does, with the loss of recall among those of the core."""
        with self._precision():
            if not torch.is_grad_enabled() or (self.recall_net is None and self.recompute_steps is None):
                return super().unroll(observations, state, starts)
            encoded = self.encode(observations)
            outputs, state, losses, _ = unroll_in_chunks(
                self.core, encoded, state, starts, self.recompute_steps or len(starts)
            )
            if self.recall_net is not None:
                error = self.recall_net.error(encoded, self._actors(outputs), starts)
                losses = {**losses, "recall": self.recall_weight * error}
        return outputs, state, losses

    def _precision(self) -> AbstractContextManager:
        """The context of everything that ``mixed_precision`` makes faster."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.mixed_precision else nullcontext()

    def distribution(self, outputs: Tensor) -> Distribution:
        """The distribution of actions for (N, O) outputs of the core."""
        return self._distribution_of(self._actors(outputs))

    def action_numbers(self, outputs: Tensor) -> Tensor:
        """What the distribution of actions is made of, for (..., O) outputs of the core: logits, or means (..., A)."""
        return self._numbers_of(self._actors(outputs))

    def _numbers_of(self, outputs: Tensor) -> Tensor:
        """The same for the actor's share of them."""
        with self._precision():
            return self.action_net(self.actor(outputs)).to(self.dtype)

    def _distribution_of(self, outputs: Tensor) -> Distribution:
        """The distribution for the actor's share of outputs (N, O)."""
        mean = self._numbers_of(outputs)
        if isinstance(self.action_space, spaces.Box):
            return self.action_dist.proba_distribution(mean, self.log_std)
        return self.action_dist.proba_distribution(mean)

    def _actors(self, outputs: Tensor) -> Tensor:
        """The share of the core's outputs that is the actor's, (..., O) to (..., O of its memory)."""
        return self.core.split(outputs)[0] if isinstance(self.core, Pair) else outputs

    def values(self, outputs: Tensor) -> Tensor:
        """The critic's estimate for outputs of the core, (..., O) to (...)."""
        return self._estimate(self.value_net, outputs)

    def bonus_values(self, outputs: Tensor) -> Tensor | None:
        """The critic's estimate of the return of intrinsic rewards, (..., O) to (...); None without ``bonus_head``."""
        return None if self.bonus_value_net is None else self._estimate(self.bonus_value_net, outputs)

    def _estimate(self, head: nn.Module, outputs: Tensor) -> Tensor:
        if isinstance(self.core, Pair):
            outputs = self.core.split(outputs)[1]
        elif not self.critic_gradient:
            outputs = outputs.detach()
        with self._precision():
            return head(self.critic(outputs)).squeeze(-1).to(self.dtype)

    def forward(self, observations: Observations, state: State, starts: Tensor, deterministic: bool = False) -> Acted:
        """Act on one step of observations (B, ...), through the same code as learning, with T = 1.

        :param starts: (B,) booleans
        """
        window = map_observations(lambda values: values[None], observations)
        outputs, state, _ = self.unroll(window, state, starts[None])
        actions = self._chosen(self.distribution(outputs[0]), deterministic)
        return Acted(actions, outputs[0], state)

    def act(self, observations: Observations, state: Any, starts: Tensor) -> Acted:
        """Act as :meth:`forward` does; a memory of the critic's own waits for :meth:`follow`.

        It waits for nothing where a subclass has its own way to act or to unroll: that is followed.

        :param observations: (B, ...)
        :param starts: (B,) booleans
        """
        core, own = self.core, type(self)
        plain = own.forward is MemoryPolicy.forward and own.unroll is MemoryPolicy.unroll
        if not isinstance(core, Pair) or not plain:
            return self(observations, state, starts)
        with self._precision():
            x = self.project(map_observations(lambda values: values[None], observations))
            outputs, state = core.act(x, state, starts[None])
        actions = self._chosen(self._distribution_of(outputs[0]), False)
        return Acted(actions, outputs[0], state, core.critics(x)[0])

    def waiting(self, observations: Observations) -> Tensor:
        """What the critic's own memory takes of observations (T, B, ...), as :meth:`act` leaves it: (T, B, X)."""
        assert isinstance(self.core, Pair)
        with self._precision():
            return self.core.critics(self.project(observations))

    def follow(self, waiting: Tensor, state: Any, starts: Tensor) -> tuple[Tensor, PairState]:
        """Take the critic's memory through the steps for which it waited.

        :param waiting: of :meth:`act`, (T, B, X)
        :param state: before these steps as far as the critic's memory is concerned
        :param starts: (T, B) booleans
        :return: its share of the outputs, (T, B, O of it), and the state after them
        """
        assert isinstance(self.core, Pair)
        with self._precision():
            return self.core.follow(waiting, state, starts)

    def _chosen(self, distribution: Distribution, deterministic: bool) -> Tensor:
        actions = distribution.get_actions(deterministic=deterministic)
        return actions.view(len(actions), *(self.action_space.shape or ()))

    def appraise(self, outputs: Tensor, actions: Tensor) -> Appraised:
        """Values, and log-probabilities and entropies of the distributions of actions, where outputs are known.

        :param outputs: of the core, (T, B, O)
        :param actions: (T, B, ...)
        """
        distribution, shape = self.distribution(outputs.flatten(0, 1)), outputs.shape[:2]
        log_probs = distribution.log_prob(actions.reshape(shape.numel(), -1))
        entropy = distribution.entropy()
        if entropy is None:  # no closed form: the sampled actions estimate it
            entropy = -log_probs
        return Appraised(
            *(self.values(outputs), log_probs.view(shape), entropy.view(shape), self.bonus_values(outputs))
        )

    def evaluate_actions(self, observations: Observations, actions: Tensor, state: State, starts: Tensor) -> Evaluated:
        """Log-probabilities, values and entropies of a whole window under the present weights.

        :param observations: (T, B, ...)
        :param actions: (T, B, ...)
        :param state: before the window, leaves (B, ...)
        :param starts: (T, B) booleans
        """
        outputs, state, losses = self.unroll(observations, state, starts)
        values, log_probs, entropy, bonus_values = self.appraise(outputs, actions)
        return Evaluated(values, log_probs, entropy, state, losses, bonus_values)

    def predict_values(self, observations: Observations, state: State, starts: Tensor) -> Tensor:
        """Values (B,) of one step of observations (B, ...), with the memory as it stands in ``state``."""
        return self.values(self.look(observations, state, starts))

    def look(self, observations: Observations, state: State, starts: Tensor) -> Tensor:
        """The core's outputs (B, O) for one step of observations (B, ...)."""
        window = map_observations(lambda values: values[None], observations)
        return self.unroll(window, state, starts[None])[0][0]


def critics_own(
    core: str, core_kwargs: dict[str, Any] | None, critic_core: str | None, critic_core_kwargs: dict[str, Any] | None
) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the parameters of the critic's own memory, None where it shares the actor's.

    :raises ValueError: for parameters of a memory that there is not
    """
    own = string_keyed("critic_core_kwargs", critic_core_kwargs)
    if critic_core is None:
        if own:
            raise ValueError(f"critic_core_kwargs: {own!r} is for critic_core, which is None")
        return None
    return (core, {**(core_kwargs or {}), **own}) if critic_core == "same" else (critic_core, own)


def hidden_layers(net_arch: Any) -> dict[str, list[int]]:
    """Return the hidden layers of actor ("pi") and critic ("vf").

    :param net_arch: a list of sizes, or a dict of two such; in a list of its own, as of old, with SB3's warning
    :raises ValueError: for anything else
    """
    if isinstance(net_arch, list | tuple) and len(net_arch) == 1 and isinstance(net_arch[0], dict):
        warn_user("net_arch=[{...}] is net_arch={...} since Stable-Baselines3 1.8")
        net_arch = net_arch[0]
    allowed = "a list of sizes, or {'pi': [64], 'vf': [64]}"
    if not isinstance(net_arch, dict):
        sizes = layer_sizes([] if net_arch is None else net_arch, allowed)
        return {"pi": sizes, "vf": sizes}
    if not net_arch.keys() <= {"pi", "vf"}:
        raise ValueError(f"net_arch must be {allowed}, not {net_arch!r}")
    return {name: layer_sizes(net_arch.get(name, []), allowed) for name in ("pi", "vf")}
