"""Universal Transformer (Dehghani et al. 2018) with adaptive computation time (Graves 2016), over an episode."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import in_range, positive_int
from memagents.cores import register_core
from memagents.cores.core import Step, full_precision
from memagents.cores.transformer import FeedForward, Kernels, RelativeAttention, kernels_for
from memagents.cores.window import WindowCore
from memagents.memory import halting, history
from memagents.memory.looking import may_look
from memagents.memory.relative import constant_sinusoids


class UniversalState(NamedTuple):
    """B rows, D greatest depth, L length of the memory, W width; see :mod:`memagents.memory.history`."""

    rows: Tensor  # (B, D, L, W): what the last steps were before each application of the block, oldest first
    filled: Tensor  # int64 (B,): how many of them are of the present episode, the last so many


@register_core("universal")
class Universal(WindowCore[UniversalState]):
    """One Transformer block, applied to a step of the episode again and again until that step halts.

    A step's H begins as a linear layer of its input. An application is (equations 4 and 5 of the paper)

        A = LN(H + P + attention(H + P)),  H ← LN(A + transition(A))

    in which a step attends to itself and to the last L steps of its episode as these were at the same depth; one that
    halted earlier stays as it was then. After the n-th application h_n = σ(w·H + b). The step halts at the first N with
    Σ h_n ≥ ``threshold``, or at ``max_depth``, and its output is the mean of H after each application, weighted by h_n
    and for the last one by the remainder R = 1 − Σ_{n<N} h_n: see :mod:`memagents.memory.halting`.

    P is the paper's sinusoid of the depth. Instead of adding one of the absolute position too, the attention knows the
    age of what it looks at (Transformer-XL's relative positions), so that no step comes too late in an episode.

    The paper's appendix computes h_n before the n-th application, mixes each H into the output in proportion to h_n,
    and stops at the greatest depth with weights that need not sum to 1. Here all three are as in Graves: h_n judges
    what the n-th application found, and the output is a mean for any N. b begins at 1, as in both, with which a step
    halts after two or three applications.

    On the CPU a window ends as soon as all its steps have halted. In float32 a step whose Σ h_n meets the threshold to
    the last bit may halt one application earlier in a window than alone; its output then moves by 1 − ``threshold``
    times the difference of the two.

    :param input_size: width I of one input
    :param length: number of past steps L; no weight depends on it
    :param max_depth: greatest number of applications D; no weight depends on it
    :param width: width W of H, a multiple of ``heads``
    :param heads: number of attention heads
    :param threshold: Σ h_n at which a step halts, 1 − ε
    :param ponder_cost: weight of the loss "ponder", N + R; 0 for no such loss
    :param output_size: width O of one output, by a linear layer; by default the mean itself
    """

    def __init__(
        self,
        input_size: int,
        length: int = 32,
        max_depth: int = 6,
        width: int = 64,
        heads: int = 4,
        threshold: float = 0.99,
        ponder_cost: float = 1e-3,
        output_size: int | None = None,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, width if output_size is None else output_size)
        self.length = positive_int("length", length)
        self.max_depth = positive_int("max_depth", max_depth)
        self.width = width
        self.threshold = in_range("threshold", threshold, 0, 1)
        self.ponder_cost = in_range("ponder_cost", ponder_cost, 0)
        self.embedding = nn.Linear(input_size, width)
        self.block = _Block(width, heads)
        self.halting = nn.Linear(width, 1)
        nn.init.ones_(self.halting.bias)
        self.output = nn.Identity() if output_size is None else nn.Linear(width, output_size)

    def initial_state(self, batch_size: int) -> UniversalState:
        weight = self.embedding.weight
        rows = weight.new_zeros(batch_size, self.max_depth, self.length, self.width)
        return UniversalState(rows, torch.zeros(batch_size, dtype=torch.int64, device=weight.device))

    def project(self, inputs: Tensor) -> Tensor:
        """H before the first application: (..., I) to (..., W)."""
        return self.embedding(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """The mean, or a linear layer of it: (..., W) to (..., O)."""
        return self.output(features)

    def window(self, x: Tensor, state: UniversalState, starts: Tensor) -> Step[UniversalState]:
        return self._window(x, state, starts, None)

    def untraced(self, x: Tensor, state: UniversalState, starts: Tensor) -> Step[UniversalState]:
        """Run by kernels where there are such, see :func:`memagents.kernels.choice.window_for`.

        The kernels, for the CPU, equal :meth:`window`, which runs for a trace, if ``width / heads`` is no multiple of 8
        (in float64 of 4), and wherever there are none. They cannot be differentiated twice.
        """
        kernels = kernels_for([x, state.rows, self.embedding.weight], self.block.attention.key_size)
        if kernels is not None and len(x) == 1 and not torch.is_grad_enabled():
            return self._act(x[0], state, starts[0], kernels)
        return self._window(x, state, starts, kernels)

    def _act(self, x: Tensor, state: UniversalState, starts: Tensor, kernels: Kernels) -> Step[UniversalState]:
        """A single step of :meth:`untraced` without a gradient: x (B, W) and starts (B,), results as there."""
        runs, filled = history.runs_of_step(state.filled, starts, self.length)
        codes = constant_sinusoids(self.max_depth + 1, self.width, x).flip(0)  # of 0, 1, …, D
        encodings = constant_sinusoids(self.length + 1, self.width, x)
        h, pondering, mean = x, halting.start(x[:, 0]), torch.zeros_like(x)
        pasts, after = state.rows.contiguous(), torch.empty_like(state.rows, memory_format=torch.contiguous_format)
        for depth in range(1, self.max_depth + 1):
            running = pondering.running
            if not running.any():
                history.shift(pasts[:, depth - 1 :], h.unsqueeze(1), starts, after[:, depth - 1 :])
                break
            found = self.block.act(pasts[:, depth - 1], runs, h, codes[depth], encodings, kernels, after[:, depth - 1])
            probability = (found @ self.halting.weight[0] + self.halting.bias).sigmoid()  # (B,)
            h = torch.where(running.unsqueeze(1), found, h)
            share, pondering = halting.ponder(pondering, probability, self.threshold, last=depth == self.max_depth)
            mean = mean + share.unsqueeze(1) * h
        losses = {"ponder": self.ponder_cost * halting.ponder_cost(pondering)[None]} if self.ponder_cost else {}
        return Step(mean.unsqueeze(0), UniversalState(after, filled), losses, {})

    def _window(
        self, x: Tensor, state: UniversalState, starts: Tensor, kernels: Kernels | None
    ) -> Step[UniversalState]:
        first = history.first_positions(state.filled, starts, self.length)
        filled = history.filled_after(first, self.length)
        past, first = history.trimmed(state.rows, first)  # (B, D, L', W)
        length = past.shape[2]
        seen = (history.sees if kernels is None else history.runs)(first, length, length + 1)  # (B, T, L' + T)
        codes = constant_sinusoids(self.max_depth + 1, self.width, state.rows).flip(0)  # of 0, 1, …, D
        h = x.transpose(0, 1).to(state.rows.dtype)  # (B, T, W)
        pondering, mean = halting.start(h[..., 0]), torch.zeros_like(h)
        kept, updates = [], []
        looks: list[Tensor] = []
        for depth, rows in enumerate(past.unbind(1), start=1):
            whole = history.timeline(rows, h, first)  # (B, L' + T, W)
            kept.append(history.newest(whole, first, self.length))
            running = pondering.running
            if may_look(running) and not running.any():
                updates.append(torch.zeros_like(mean[..., 0]))
                looks.extend(torch.zeros_like(look) for look in looks[:1])
                continue
            if kernels is None:
                found, weights = self.block(whole + codes[depth], seen)
                looks.append(running[:, :, None, None] * weights)
            else:
                found = self.block.along(whole + codes[depth], seen, kernels)
            with full_precision(h):
                probability = (found @ self.halting.weight[0] + self.halting.bias).sigmoid()  # (B, T)
                h = torch.where(running.unsqueeze(2), found, h)
                share, pondering = halting.ponder(pondering, probability, self.threshold, last=depth == self.max_depth)
                mean = mean + share.unsqueeze(2) * h
            updates.append(share)
        state = UniversalState(torch.stack(kept, dim=1), filled)
        cost = halting.ponder_cost(pondering).T
        shown = [functional.pad(look.transpose(0, 1), (self.length - length, 0)) for look in looks]
        trace = {f"depth_{depth}_weights": look for depth, look in enumerate(shown, start=1)}
        trace |= {"update_weights": torch.stack(updates, dim=-1).transpose(0, 1), "depth": pondering.steps.T}
        losses = {"ponder": self.ponder_cost * cost} if self.ponder_cost else {}
        return Step(mean.transpose(0, 1), state, losses, trace)


class _Block(nn.Module):
    """Attention of a window's steps to what each of them sees, then the transition, a perceptron of each step by
    itself; a residual and a LayerNorm around both."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = RelativeAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.transition = FeedForward(width)
        self.transition_norm = nn.LayerNorm(width)

    def forward(self, whole: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """
        :param whole: H + P on the timeline, (B, L + T, W)
        :param seen: (B, T, L + T)
        :return: H of the T steps, (B, T, W), and the weights of their attention by age, (B, T, heads, L + 1)
        """
        steps = seen.shape[1]
        attended, weights = self.attention(whole, seen, whole.shape[1] - steps + 1)
        return self._update(whole[:, -steps:], attended), weights

    def along(self, whole: Tensor, runs: Tensor, kernels: Kernels) -> Tensor:
        """Run :meth:`forward` by kernels, for H alone; ``runs`` in place of ``seen``, (B, T, 1, 3)."""
        steps = runs.shape[1]
        return self._update(whole[:, -steps:], self.attention.along(whole, runs, whole.shape[1] - steps + 1, kernels))

    def act(
        self,
        past: Tensor,
        runs: Tensor,
        h: Tensor,
        code: Tensor,
        encodings: Tensor,
        kernels: Kernels,
        after: Tensor,
    ) -> Tensor:
        """A single step of :meth:`along` without a gradient.

        :param past: H of the last steps, (B, L, W)
        :param runs: which of them are of the episode, (B, 1, 3)
        :param h: that of the step, (B, W)
        :param code: P, (W,)
        :param encodings: sinusoids of the ages, (L + 1, W)
        :param kernels: of :func:`memagents.cores.transformer.kernels_for`
        :param after: becomes H of the last steps, (B, L, W)
        :return: H after it, (B, W)
        """
        found = self.attention.of_rows(past, runs, h, encodings, kernels, shift=code, after=after)
        return self._update(h + code, found)

    def _update(self, h: Tensor, attended: Tensor) -> Tensor:
        """H after the application, from H + P before it and what the attention found, (..., W) all."""
        a = self._norm(self.attention_norm, h + attended)
        return self._norm(self.transition_norm, a + self.transition(a))

    @staticmethod
    def _norm(norm: nn.Module, x: Tensor) -> Tensor:
        with full_precision(x):
            return norm(x)
