"""Episodic Planning Network (Ritter et al. 2020, "Rapid task-solving in novel environments", arXiv 2006.03662)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import positive_int
from memagents.cores import register_core
from memagents.cores.core import full_precision
from memagents.cores.episode_store import EpisodeStore, StoreState
from memagents.kernels import choice
from memagents.memory.attention import attention
from memagents.memory.planning import masked_max, maximal_shares, packed, transitions


@register_core("epn")
class EPN(EpisodeStore[StoreState]):
    """Self-attention of one shared block, several times over, among the transitions of the episode and the present.

    A transition is two inputs that followed one another (complete where they hold the previous action, see
    ``condition_on`` of :func:`memagents.make_env`). In every step the last L of the episode are looked at anew with the
    present input x_t, which holds the goal where there is one: ::

        z_i = A x_{i-1} + B x_i + C x_t,  z_t = D x_t + C x_t;  K times:  z ← z + Attention(LN(z)),  z ← z + MLP(LN(z))
        y = W_2 ReLU(W_1 [LN(max_i z_i); x_t])

    The maximum is taken feature by feature over all rows, z_t among them, which alone is there in an episode's first
    step. The weights of the K iterations are the same, so that an agent may think longer than it was trained to. No row
    says when it was stored; order comes from transitions that meet.

    The abstract was read; the architecture as others tell it (residuals, norms in front, the maximum, the input beside
    it). Open remain the published widths, whether the maximum is also over iterations (a port does so), and what a row
    holds there; the row of the present is of this library, and so is the last norm: without it the rows, to which every
    iteration adds, grew until the policy chose blindly (T-maze, PPO, learning rate 3e-3: 0.00 in each of five seeds).
    The published memory holds the whole episode, and 4 to 6 iterations; the cost of a step is K (L² W + L W²), for
    which the defaults here are small. The state holds the last L inputs.

    :param input_size: width I of one input
    :param length: number of transitions L; no weight depends on it
    :param width: width W of a row, a multiple of ``heads``
    :param iterations: K; no weight depends on it
    :param heads: number of attention heads, each with W / heads of the width
    :param feedforward: hidden units of the perceptron; by default W
    :param output_size: width O of one output; by default 64
    """

    def __init__(
        self,
        input_size: int,
        length: int = 16,
        width: int = 24,
        iterations: int = 2,
        heads: int = 1,
        feedforward: int | None = None,
        output_size: int = 64,
    ):
        width = positive_int("width", width)
        super().__init__(input_size, output_size, length)
        if width % positive_int("heads", heads):
            raise ValueError(f"width must be a multiple of heads ({heads}), not {width}")
        self.width, self.heads = width, heads
        self.iterations = positive_int("iterations", iterations)
        hidden = width if feedforward is None else positive_int("feedforward", feedforward)
        self.transition = nn.Linear(input_size, 2 * width)  # A and B
        self.present = nn.Linear(input_size, 2 * width)  # C and D
        self.attention_norm = nn.LayerNorm(width)
        self.interface = nn.Linear(width, 3 * width, bias=False)  # queries, keys, values
        self.found = nn.Linear(width, width, bias=False)
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.last_norm = nn.LayerNorm(width)
        self.output = nn.Sequential(
            nn.Linear(width + input_size, output_size), nn.ReLU(), nn.Linear(output_size, output_size)
        )

    def readout(self, features: Tensor) -> Tensor:
        """y = W_2 ReLU(W_1 [LN(max z); x]): (..., W + I) to (..., O)."""
        return self.output(features)

    def look(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> tuple[Tensor, dict[str, Tensor]]:
        rows, mask = self._rows(x, whole, first)
        trace = {}
        for iteration in range(1, self.iterations + 1):
            rows, weights = self._iterate(rows, mask)
            trace[f"iteration_{iteration}_weights"] = self._padded(weights[..., -1, :])
        trace["maximum_weights"] = self._padded(maximal_shares(rows, mask))
        return self._features(x, masked_max(rows, mask)), trace

    def find(self, x: Tensor, whole: Tensor, first: Tensor, state: StoreState) -> Tensor:
        """Run on the rows that there are alone, by a kernel where there is one, see
        :func:`memagents.kernels.choice.window_for`.

        The kernel, for the CPU, equals :meth:`look`, which runs for a trace, if ``width / heads`` is no multiple of 8
        (in float64 of 4), and wherever there is none. It cannot be differentiated twice.
        """
        kernel = choice.window_for("attention", [x, whole, self.found.weight], key_size=self.width // self.heads)
        if kernel is None:
            return self.look(x, whole, first, state)[0]
        before, after, asked, present = self._parts(x, whole)
        plan = packed(first, whole.shape[1] - len(x))
        there = torch.cat([(before[:, :-1] + after[:, 1:]).flatten(0, 1), present.flatten(0, 1)])
        rows = there.index_select(0, plan.rows) + asked.flatten(0, 1).index_select(0, plan.steps)
        for _ in range(self.iterations):
            queries, keys, values = self.interface(self.attention_norm(rows)).unsqueeze(0).chunk(3, dim=-1)
            rows = rows + self.found(kernel(queries, keys, values, plan.runs, self.length + 1, self.heads)).squeeze(0)
            rows = rows + self.feedforward(self.feedforward_norm(rows))
        highest = torch.segment_reduce(rows, "max", lengths=plan.counts, unsafe=True)
        return self._features(x, highest.view_as(present))

    def _rows(self, x: Tensor, whole: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """z at first, (B, T, L' + 1, W), the present last, and which of them there are, (B, T, L' + 1)."""
        before, after, asked, present = self._parts(x, whole)
        past, mask = transitions(before, after, first)
        rows = torch.cat([past, present.unsqueeze(2)], dim=2) + asked.unsqueeze(2)
        return rows, functional.pad(mask, (0, 1), value=True)

    def _parts(self, x: Tensor, whole: Tensor) -> tuple[Tensor, ...]:
        """A and B of the timeline, (B, L' + T, W), C and D of the window's steps, (B, T, W)."""
        of_past, of_present = self.transition(whole), self.present(x.transpose(0, 1))
        return tuple(part for made in (of_past, of_present) for part in made.to(whole.dtype).chunk(2, dim=-1))

    def _iterate(self, rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The rows after one iteration, and the weights, (B, T, heads, L' + 1, L' + 1)."""
        made = self.interface(self.attention_norm(rows)).to(rows.dtype)
        queries, keys, values = made.unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5)
        with full_precision(rows):
            found, weights = attention(queries, keys, values, mask.unsqueeze(2).unsqueeze(2))
        rows = rows + self.found(found.transpose(2, 3).flatten(3)).to(rows.dtype)
        return rows + self.feedforward(self.feedforward_norm(rows)).to(rows.dtype), weights

    def _features(self, x: Tensor, highest: Tensor) -> Tensor:
        """[LN(max z); x], (B, T, W + I), from the inputs (T, B, I) and the maxima (B, T, W)."""
        return torch.cat([self.last_norm(highest), x.transpose(0, 1).to(highest.dtype)], dim=-1)

    def _padded(self, weights: Tensor) -> Tensor:
        """Weights of the last L' + 1 rows as of L + 1."""
        return functional.pad(weights, (self.length + 1 - weights.shape[-1], 0))
