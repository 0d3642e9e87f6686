"""Modern Hopfield retrieval from the episode (Ramsauer et al. 2021, "Hopfield networks is all you need")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import full_precision
from memagents.cores.episode_store import EpisodeStore, StoreState
from memagents.kernels import choice
from memagents.memory import history
from memagents.memory.hopfield import retrieve


@register_core("hopfield")
class Hopfield(EpisodeStore[StoreState]):
    """The last L inputs as stored patterns, completed from the present one.

    The present input is mapped to the state patterns ξ = W_Q x_t + b_Q, one a head, the stored inputs (the present one
    among them) to the patterns X = W_K Y; then ξ ← X softmax(β Xᵀ ξ), once or more often (equation 3); the output is
    W_V ξ (equation 10) + W_R x_t + b. After one update that is attention whose values are made of the keys.

    Two things are not in the paper's equations: W_R x_t, a residual connection by which the output holds the present
    input too (through a matrix, since its width differs), and b_Q, with which a state can ask for what does not depend
    on the input. The LayerNorms that the authors' program puts on the patterns are left out. Nothing says when a
    pattern was stored.

    :param input_size: width I of one input
    :param length: number of stored patterns L; no weight depends on it
    :param width: width W of the association space, that of all heads together; a multiple of ``heads``
    :param heads: number of heads, each with W / heads of the width
    :param updates: how often ξ is updated
    :param beta: β, the inverse temperature: the higher, the fewer patterns are mixed; by default 1 / √(W / heads)
    :param output_size: width O of one output; by default ``width``
    """

    def __init__(
        self,
        input_size: int,
        length: int = 64,
        width: int = 64,
        heads: int = 4,
        updates: int = 1,
        beta: float | None = None,
        output_size: int | None = None,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, width if output_size is None else output_size, length)
        if width % positive_int("heads", heads):
            raise ValueError(f"width must be a multiple of heads ({heads}), not {width}")
        self.heads = heads
        self.updates = positive_int("updates", updates)
        self.beta = (width // heads) ** -0.5 if beta is None else in_range("beta", beta, 0, 1e6)
        self.state_patterns = nn.Linear(input_size, width)  # W_Q
        self.stored_patterns = nn.Linear(input_size, width, bias=False)  # W_K
        self.output = nn.Linear(input_size + width, self.output_size)  # W_R and W_V

    def readout(self, features: Tensor) -> Tensor:
        """W_R x + W_V ξ + b: (..., I + W) to (..., O)."""
        return self.output(features)

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> tuple[Tensor, dict[str, Tensor]]:
        length = whole.shape[1] - len(x)
        span = min(length + 1, self.length)
        present = whole[:, length:]  # (B, T, I)
        states, patterns = (
            self._heads(made, whole) for made in (self.state_patterns(present), self.stored_patterns(whole))
        )
        seen = history.sees(first, length, span).unsqueeze(1)  # (B, 1, T, L' + T)
        with full_precision(whole):
            found, weights = retrieve(states, patterns, self.beta, self.updates, seen)
        features = torch.cat([present, found.transpose(1, 2).flatten(2)], dim=-1)
        by_age = functional.pad(history.unskew(weights, span), (self.length - span, 0))
        return features, {"retrieval_weights": by_age.transpose(1, 2)}

    def find(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> Tensor:
        """Run by a kernel where there is one, see :func:`memagents.kernels.choice.window_for`.

        The kernel, for the CPU, equals :meth:`look`, which runs for a trace, if ``width / heads`` is no multiple of 8
        (in float64 of 4), and wherever there is none. It cannot be differentiated twice.
        """
        size = self.state_patterns.out_features // self.heads
        kernel = choice.window_for("attention", [x, whole, self.stored_patterns.weight], key_size=size)
        if kernel is None:
            return self.look(x, whole, first, state)[0]
        length = whole.shape[1] - len(x)
        span = min(length + 1, self.length)
        present, runs = whole[:, length:], history.runs(first, length, span)
        found, patterns = self.state_patterns(present), self.stored_patterns(whole)
        for _ in range(self.updates):
            found = kernel(found * (self.beta * size**0.5), patterns, patterns, runs, span, self.heads)
        return torch.cat([present, found], dim=-1)

    def _heads(self, patterns: Tensor, whole: Tensor) -> Tensor:
        """(B, M, W) to (B, heads, M, W / heads), in the memory's precision."""
        return patterns.to(whole.dtype).unflatten(-1, (self.heads, -1)).transpose(1, 2)
