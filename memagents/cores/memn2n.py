"""End-to-End Memory Network (Sukhbaatar et al. 2015, "End-to-end memory networks") over the episode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import Step, full_precision
from memagents.cores.episode_store import EpisodeStore, MemN2NState
from memagents.memory import draws, history, selection

SELECTIONS = ("soft", "hard", "sampled", "top_k")


@register_core("memn2n")
class MemN2N(EpisodeStore[MemN2NState]):
    """The last L inputs, the present one among them, embedded anew in every step and looked through in several hops.

    u = B x_t; in each hop p_i = softmax(uᵀ (A x_i + T_A(i))) and o = Σ p_i (C x_i + T_C(i)) over the memories x_i, with
    T(i) an embedding of the memory's age (equations 1-3 and section 4.1), and u ← u + o.

    The embeddings are tied as the paper's "adjacent" ones: A^{k+1} = C^k and T_A^{k+1} = T_C^k, and B = A^1, since the
    question is an input as the memories are. The fourth of these ties, of the answer's W to C^K, is for answers that
    are embedded as the memories are; here W is a matrix of its own: the output is W u after the last hop. Position
    encoding of words does not apply.

    The paper's embeddings begin small enough for a nearly uniform first look. These do so at any size, or the present
    input, most like itself, would hide the others: with a variance of 1 / (I H), ‖A x‖ is about 1 for inputs of
    variance 1. Those of ages begin with the paper's deviation of 0.1.

    :param input_size: width I of one input
    :param length: number of memories L; only the temporal embeddings' size depends on it
    :param hidden_size: width H of the embeddings
    :param hops: number of hops K
    :param selection: how p is made of the scores: ``"soft"``, their softmax; ``"hard"``, 1 for the highest;
        ``"sampled"``, 1 for one drawn from the softmax; ``"top_k"``, the softmax of the ``top_k`` highest. The gradient
        of the second and third is the softmax's (straight-through).
    :param top_k: of how many memories with ``selection="top_k"``
    :param output_size: width O of one output; by default ``hidden_size``
    """

    def __init__(
        self,
        input_size: int,
        length: int = 64,
        hidden_size: int = 64,
        hops: int = 3,
        selection: str = "soft",
        top_k: int = 4,
        output_size: int | None = None,
    ):
        hidden_size = positive_int("hidden_size", hidden_size)
        super().__init__(input_size, hidden_size if output_size is None else output_size, length)
        if selection not in SELECTIONS:
            raise ValueError(f"selection must be one of {SELECTIONS}, not {selection!r}")
        self.hidden_size = hidden_size
        self.hops = positive_int("hops", hops)
        self.selection = selection
        self.top_k = positive_int("top_k", top_k)
        self.embeddings = nn.Linear(input_size, (hops + 1) * hidden_size, bias=False)  # A^1, C^1 = A^2, …, C^K
        self.ages = nn.Parameter(torch.empty(hops + 1, length, hidden_size))  # T_A^1, …, T_C^K; the present one last
        self.output = nn.Linear(hidden_size, self.output_size)
        nn.init.normal_(self.embeddings.weight, std=(input_size * hidden_size) ** -0.5)
        nn.init.normal_(self.ages, std=0.1)

    def initial_state(self, batch_size: int) -> MemN2NState:
        empty = super().initial_state(batch_size)
        return MemN2NState(empty.rows, empty.filled, torch.zeros_like(empty.filled))

    def readout(self, features: Tensor) -> Tensor:
        """W u (+ a bias): (..., H) to (..., O)."""
        return self.output(features)

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: MemN2NState) -> tuple[Tensor, dict[str, Tensor]]:
        length = whole.shape[1] - len(x)
        span = min(length + 1, self.length)
        ages = self.ages[:, self.length - span :]  # (K + 1, S, H)
        embedded = self.embeddings(whole).to(whole.dtype).chunk(self.hops + 1, dim=-1)  # (B, L' + T, H) each
        seen = history.sees(first, length, span)  # (B, T, L' + T)
        uniforms = draws.uniform(_keys(state.key, len(x)), self.hops, whole.dtype)  # (B, T, K)
        trace = {}
        with full_precision(whole):
            u = embedded[0][:, length:]
            for hop in range(self.hops):
                of_age = history.skew(u @ ages[hop].T, length)
                scores = u @ embedded[hop].transpose(1, 2) + of_age
                weights = self._select(scores, seen, uniforms[..., hop : hop + 1])
                by_age = history.unskew(weights, span)  # (B, T, S)
                u = u + weights @ embedded[hop + 1] + by_age @ ages[hop + 1]
                trace[f"hop_{hop + 1}_weights"] = functional.pad(by_age, (self.length - span, 0))  # (B, T, L)
        return u, trace

    def _window(
        self, x: Tensor, state: MemN2NState, starts: Tensor, look: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    ) -> Step[MemN2NState]:
        step = super()._window(x, state, starts, look)
        return step._replace(state=step.state._replace(key=state.key + len(x)))

    def _select(self, scores: Tensor, seen: Tensor, uniforms: Tensor) -> Tensor:
        if self.selection == "hard":
            return selection.hard(scores, seen)
        if self.selection == "sampled":
            return selection.sampled(scores, uniforms, seen)
        if self.selection == "top_k":
            return selection.top_k(scores, self.top_k, seen)
        return selection.soft(scores, seen)


def _keys(key: Tensor, steps: int) -> Tensor:
    """The keys of a window's steps, (B, T), from that of its first, (B,)."""
    return key.unsqueeze(1) + torch.arange(steps, device=key.device)
