"""The Legendre memory unit's delay line, and its recurrence over a window (Voelker et al. 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memagents.memory.scan import begins


def legendre_delay(order: int, theta: float) -> tuple[Tensor, Tensor]:
    """Ā and B̄ of m' = Ā m + B̄ u, by which m holds the last θ values of u as Legendre polynomials.

    A_ij = (2i + 1)/θ · (-1 if i < j else (-1)^(i - j + 1)) and B_i = (2i + 1)/θ · (-1)^i, followed for one step in
    which u stands still (zero-order hold). u of r θ steps ago is about Σ_i P_i(2r - 1) m_i for r in [0, 1].

    :param order: number of polynomials d
    :param theta: θ in steps, above 0
    :return: Ā (d, d) and B̄ (d,), float64
    """
    i = torch.arange(order, dtype=torch.float64)
    signs = torch.where(i[:, None] < i, -1.0, (-1.0) ** (i[:, None] - i + 1))
    system = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    system[:order] = torch.cat([signs, ((-1.0) ** i)[:, None]], dim=1) * ((2 * i + 1) / theta)[:, None]
    held = torch.linalg.matrix_exp(system)[:order]
    return held[:, :order].contiguous(), held[:, order].contiguous()


def delay_window(
    drive: Tensor,
    inputs: Tensor,
    maps: tuple[Tensor, Tensor, Tensor, Tensor],
    state: tuple[Tensor, Tensor],
    starts: Tensor,
) -> tuple[Tensor, Tensor]:
    """m_t = P_m m_{t-1} + P_h h_{t-1} + d_t and h_t = tanh(Q_m m_t + Q_h h_{t-1} + x_t) for all t.

    The way back is written out, and cannot be differentiated.

    :param drive: d, (T, B, M)
    :param inputs: x, (T, B, H)
    :param maps: P_m (M, M), P_h (M, H), Q_m (H, M) and Q_h (H, H)
    :param state: m (B, M) and h (B, H) before the window
    :param starts: (T, B) booleans, where m and h are zero before the step
    :return: m (T, B, M) and h (T, B, H)
    """
    return _DelayWindow.apply(drive, inputs, *maps, *state, starts)


class _DelayWindow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, inputs: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        *maps, memory, hidden, starts = given
        to_memory, from_hidden, to_hidden, recurrent = (matrix.t() for matrix in maps)
        memories, hiddens = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (drive, inputs))
        before = (memory, hidden)
        steps = (drive.unbind(0), inputs.unbind(0), memories.unbind(0), hiddens.unbind(0), begins(starts, 2))
        for d, x, m, h, rows in zip(*steps, strict=True):
            if rows is not None:
                before = (before[0].masked_fill(rows, 0), before[1].masked_fill(rows, 0))
            torch.addmm(d, before[0], to_memory, out=m).addmm_(before[1], from_hidden)
            torch.addmm(x, before[1], recurrent, out=h).addmm_(m, to_hidden).tanh_()
            before = (m, h)
        ctx.save_for_backward(*given, memories, hiddens)
        return memories, hiddens

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *maps, memory, hidden, starts, memories, hiddens = ctx.saved_tensors
        to_memory, from_hidden, to_hidden, recurrent = maps
        for_memory, for_hidden = (grad.clone(memory_format=torch.contiguous_format) for grad in grads)
        slopes = 1 - hiddens * hiddens
        begun = begins(starts, 2)
        for t in range(len(begun) - 1, -1, -1):
            h = for_hidden[t].mul_(slopes[t])  # from here on of what tanh was taken of
            m = for_memory[t].addmm_(h, to_hidden)
            before_m = m @ to_memory
            before_h = torch.addmm(m @ from_hidden, h, recurrent)
            rows = begun[t]
            if rows is not None:
                before_m.masked_fill_(rows, 0)
                before_h.masked_fill_(rows, 0)
            if t > 0:
                for_memory[t - 1].add_(before_m)
                for_hidden[t - 1].add_(before_h)
        befores = [
            torch.cat([first.unsqueeze(0), later[:-1]]).masked_fill(starts.unsqueeze(-1), 0).flatten(0, 1)
            for first, later in ((memory, memories), (hidden, hiddens))
        ]
        down, up = for_memory.flatten(0, 1).t(), for_hidden.flatten(0, 1).t()
        for_maps = (down @ befores[0], down @ befores[1], up @ memories.flatten(0, 1), up @ befores[1])
        return for_memory, for_hidden, *for_maps, before_m, before_h, None
