"""Key-Value Memory Network (Miller et al. 2016, "Key-value memory networks for directly reading documents")."""

from __future__ import annotations

import numbers

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import full_precision
from memagents.cores.episode_store import EpisodeStore, StoreState
from memagents.kernels import choice
from memagents.memory import history, selection


@register_core("kv")
class KeyValue(EpisodeStore[StoreState]):
    """Memories whose key is an observation, and whose value is the observation with what was done and gained by it.

    An input is an observation and, in its last C features, the code of the *previous* action and reward. At step t
    becomes known what came of step t − 1: the pair of the key [obs_{t-1}; 0] and the value [obs_{t-1}; conditions_t].
    These are the paper's features Φ_K and Φ_V, and Φ_X is the present input. q = A Φ_X; in each hop p_i = softmax(qᵀ A
    Φ_K(i)), o = Σ p_i A Φ_V(i) and q ← R_j (q + o), with one A and a matrix R_j for each hop (equations 1-3).

    Without conditions a value is its key. Nothing says when a pair was stored, as in the paper. At an episode's first
    step there is no pair, and o = 0, a sum of nothing.

    The state holds the last L inputs, from which L pairs can be made as soon as the next input is there.

    :param input_size: width I of one input
    :param length: number of pairs L; no weight depends on it
    :param hidden_size: width H of the embeddings
    :param hops: number of hops
    :param condition_size: C, how many features of an input are the code of the previous action and reward
    :param output_size: width O of one output, by a linear layer (the paper's B); by default the last q itself, H wide
    """

    def __init__(
        self,
        input_size: int,
        length: int = 64,
        hidden_size: int = 64,
        hops: int = 2,
        condition_size: int = 0,
        output_size: int | None = None,
    ):
        hidden_size = positive_int("hidden_size", hidden_size)
        super().__init__(input_size, hidden_size if output_size is None else output_size, length)
        self.hidden_size = hidden_size
        self.observation_size = input_size - _condition_size(condition_size, input_size)
        self.embedding = nn.Linear(input_size, hidden_size, bias=False)  # A
        self.updates = nn.ModuleList(  # R_j
            nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(positive_int("hops", hops))
        )
        self.output = nn.Identity() if output_size is None else nn.Linear(hidden_size, output_size)

    def readout(self, features: Tensor) -> Tensor:
        """The last q, or a linear layer of it: (..., H) to (..., O)."""
        return self.output(features)

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> tuple[Tensor, dict[str, Tensor]]:
        observed, came = self._embed(whole)  # A [obs; 0] and A [0; conditions], (B, L' + T, H)
        # Of all positions but the last, which has no pair yet; and no step sees its own.
        keys, values = observed[:, :-1], observed[:, :-1] + came[:, 1:]
        length = whole.shape[1] - len(x)
        seen = history.sees(first, length, length + 1).tril(length - 1)[..., :-1]  # (B, T, L' + T − 1)
        q = (observed + came)[:, length:]
        trace = {}
        for hop, update in enumerate(self.updates, start=1):
            with full_precision(whole):
                weights = selection.soft(q @ keys.transpose(1, 2), seen)
                q = q + weights @ values
            q = update(q).to(whole.dtype)
            by_age = history.unskew(weights, length)
            trace[f"hop_{hop}_weights"] = functional.pad(by_age, (self.length - length, 0))  # (B, T, L)
        return q, trace

    def find(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> Tensor:
        """Run by a kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernel, for the CPU, equals :meth:`look`, which runs for a trace, if ``hidden_size`` is no multiple of 8 (in
        float64 of 4), and wherever there is none. It cannot be differentiated twice.
        """
        kernel = choice.window_for("attention", [x, whole, self.embedding.weight], key_size=self.hidden_size)
        if kernel is None:
            return self.look(x, whole, first, state)[0]
        observed, came = self._embed(whole)
        length, keys, values = whole.shape[1] - len(x), observed[:, :-1], observed[:, :-1] + came[:, 1:]
        begin, after, age = history.runs(first, length, length + 1).unbind(-1)
        runs = torch.stack([begin, after - 1, age], dim=-1)  # a step's own position has no pair yet
        q = (observed + came)[:, length:]
        for update in self.updates:
            q = update(q + kernel(q * self.hidden_size**0.5, keys, values, runs, length + 1, 1))
        return q

    def _embed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        sizes = (self.observation_size, self.input_size - self.observation_size)
        parts = zip(inputs.split(sizes, dim=-1), self.embedding.weight.split(sizes, dim=1), strict=True)
        observed, came = (functional.linear(part, weight).to(inputs.dtype) for part, weight in parts)
        return observed, came


def _condition_size(value: int, input_size: int) -> int:
    integral = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integral or not 0 <= value < input_size:
        raise ValueError(f"condition_size must be an integer from 0 to {input_size - 1}, not {value!r}")
    return int(value)
