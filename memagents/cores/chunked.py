"""Residual blocks that each remember a matrix a head, S' = α S + k uᵀ, behind a short convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from memagents.checks import positive_int
from memagents.cores.core import MemoryCore, Step, Unrolled, full_precision
from memagents.cores.layered import memory_dtype
from memagents.memory.convolution import TAPS, convolve_step, convolve_window
from memagents.memory.linear import linear_step, linear_window, stabilise_step, stabilise_window

S = TypeVar("S", bound=tuple[Any, ...])


class ChunkedState(NamedTuple):
    """B rows, H heads, keys of width K, values of width V, X channels; of L layers one behind another."""

    memory: Tensor  # S, (B, L H, K, V)
    recent: Tensor  # the convolution's last inputs, (B, L 3, X), the oldest first


class Ways(NamedTuple):
    """How time is gone through: one step, (B, ...), or all of a window, (T, B, ...)."""

    convolve: Callable[..., tuple[Tensor, Tensor]]
    remember: Callable[..., tuple[Tensor, Tensor]]
    stabilise: Callable[..., tuple[Tensor, Tensor, Tensor]]


STEP = Ways(convolve_step, linear_step, stabilise_step)


class Told(NamedTuple, Generic[S]):
    """What a block gives: its outputs, (..., W), its state, and what makes what is to be seen of a step."""

    outputs: Tensor
    state: S
    trace: Callable[[], dict[str, Tensor]]


class ChunkedBlock(nn.Module, Generic[S]):
    """One block, x + W_o y, where y is read from a memory into which LN(x) is written; (..., W) to (..., W).

    :param width: W
    :param sizes: of the parts that :meth:`project` makes of LN(x), by one matrix without a bias
    :param channels: X of the convolution
    :param convolution_bias: whether it has one
    :param inner: width of y
    """

    def __init__(self, width: int, sizes: Sequence[int], channels: int, convolution_bias: bool, inner: int):
        super().__init__()
        self.width, self.sizes, self.channels = width, list(sizes), channels
        self.norm = nn.LayerNorm(width)
        self.maps = nn.Linear(width, sum(sizes), bias=False)
        bound = 1 / math.sqrt(TAPS)
        self.taps = nn.Parameter(torch.empty(TAPS, channels).uniform_(-bound, bound))
        self.taps_bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound)) if convolution_bias else None
        self.output = nn.Linear(inner, width, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        """That of the memory, at least single precision."""
        return memory_dtype(self.taps.dtype, False)

    def initial(self, batch_size: int) -> S:
        """The block's state before an episode, that of a core with one layer."""
        raise NotImplementedError

    def project(self, x: Tensor) -> Tensor:
        """x and what is made of it by one matrix side by side, (..., W) to (..., W + P)."""
        return torch.cat([x, self.maps(self.norm(x))], dim=-1)

    def forward(self, projected: Tensor, state: S, ways: Ways) -> Told[S]:
        """Go through one step or a window of what :meth:`project` made."""
        x, *parts = projected.split([self.width, *self.sizes], dim=-1)
        with full_precision(x):
            y, state, trace = self.remember([part.to(self.dtype) for part in parts], state, ways)
        return Told(x + self.output(y.to(self.taps.dtype)), state, trace)

    def remember(self, parts: list[Tensor], state: S, ways: Ways) -> Told[S]:
        """y of what the matrix made, in the memory's dtype."""
        raise NotImplementedError

    def convolved(self, inputs: Tensor, recent: Tensor, ways: Ways) -> tuple[Tensor, Tensor]:
        """The convolution's outputs, (..., X), and its last inputs."""
        bias = None if self.taps_bias is None else self.taps_bias.to(self.dtype)
        return ways.convolve(inputs, recent, weight=self.taps.to(self.dtype), bias=bias)

    def zeros(self, batch_size: int, *shape: int) -> Tensor:
        """(B, ...)."""
        return torch.zeros(batch_size, *shape, dtype=self.dtype, device=self.taps.device)


class Chunked(MemoryCore[S]):
    """Blocks on a linear layer of the input; a window is computed in chunks, see :mod:`memagents.memory.linear`.

    :param input_size: width I of one input
    :param blocks: the lowest first, of one width W, which is also that of one output
    :param chunk: steps of a window that are computed together; no weight depends on it
    """

    def __init__(self, input_size: int, blocks: Sequence[ChunkedBlock[S]], chunk: int):
        super().__init__(input_size, blocks[0].width)
        self.chunk = positive_int("chunk", chunk)
        self.encoder = nn.Linear(input_size, blocks[0].width)
        self.blocks = nn.ModuleList(blocks)

    def initial_state(self, batch_size: int) -> S:
        return _joined([block.initial(batch_size) for block in self._stack()])

    def project(self, inputs: Tensor) -> Tensor:
        return self._stack()[0].project(self.encoder(inputs))

    def step(self, x: Tensor, state: S) -> Step[S]:
        told = self._through(x, state, STEP)
        traces = [each.trace() for each in told]
        trace = {name: torch.cat([each[name] for each in traces], dim=1) for name in traces[0]}
        return Step(told[-1].outputs, _joined([each.state for each in told]), {}, trace)

    def recur(self, x: Tensor, state: S, starts: Tensor, trace: bool = False) -> Unrolled[S]:
        """Run a window layer after layer, in chunks of steps; step by step where the memory of each is to be seen.

        It cannot be differentiated twice.
        """
        if trace:
            return super().recur(x, state, starts, trace)
        if len(x) == 1 and x.device.type == "cpu":
            begun = starts[0].nonzero().squeeze(1)
            step = (partial(each, begun=begun) for each in STEP) if len(begun) else STEP
            told = self._through(x[0], state, Ways(*step))
            outputs = self.readout(told[-1].outputs).unsqueeze(0)
            return Unrolled(outputs, _joined([each.state for each in told]), {}, {})
        ways = Ways(
            partial(convolve_window, starts=starts),
            partial(linear_window, starts=starts, chunk=self.chunk),
            partial(stabilise_window, starts=starts, chunk=self.chunk),
        )
        told = self._through(x, state, ways)
        return Unrolled(self.readout(told[-1].outputs), _joined([each.state for each in told]), {}, {})

    def _stack(self) -> list[ChunkedBlock[S]]:
        return cast("list[ChunkedBlock[S]]", list(self.blocks))

    def _through(self, x: Tensor, state: S, ways: Ways) -> list[Told[S]]:
        """What each block gives."""
        told: list[Told[S]] = []
        states = zip(*(leaf.chunk(len(self.blocks), dim=1) for leaf in state), strict=True)
        for block, own in zip(self._stack(), states, strict=True):
            told.append(block(block.project(told[-1].outputs) if told else x, type(state)(*own), ways))
        return told


def steady_decay(lives: Tensor) -> tuple[Tensor, Tensor]:
    """log A, (H,), and b, (H, C), of decays exp(-A softplus(x + b)) with such half-lives where x = 0.

    softplus(b), the interval, is 0.1 in a head's geometric mean: the longest that Mamba-2 draws. A long memory is had
    by a small A and not by a small interval, since where the interval multiplies what is written, little would be.

    :param lives: in steps, (H, C)
    """
    rates = math.log(2) / lives  # A softplus(b)
    log_rates = rates.log().mean(dim=1) - math.log(0.1)
    return log_rates.float(), (rates / log_rates.exp().unsqueeze(1)).expm1().log().float()


def _joined(states: list[S]) -> S:
    """States of layers, leaves (B, N, ...), to one with leaves (B, L N, ...)."""
    if len(states) == 1:  # without a copy
        return states[0]
    return type(states[0])(*(torch.cat(leaves, dim=1) for leaves in zip(*states, strict=True)))
