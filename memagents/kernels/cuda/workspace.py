"""A window on a CUDA GPU: a workspace that it borrows, and its one place in autograd.

Every step of a window is a few launches, of cuBLAS and of a core's own kernels. All of them work on the preallocated
buffers of a :class:`Workspace`, so that a window becomes one CUDA graph (:mod:`memagents.kernels.cuda.graph`).

In Triton's interpreter (``TRITON_INTERPRET=1``) the same code runs on the CPU, slowly, for tests.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.kernels.autograd import Context, learning
from memagents.kernels.cuda.graph import Captured, Workspaces

Z = TypeVar("Z")  # sizes of a core; hashable
W = TypeVar("W", bound="Workspace[Any]")

Constant = int | float | None
"""A compile-time constant of a kernel."""


class Key(NamedTuple, Generic[Z]):
    """Description of the windows that a workspace serves."""

    sizes: Z
    steps: int
    batch: int
    keep: bool  # what a backward needs
    dtype: torch.dtype
    device: torch.device
    stream: int  # whose work is done in order, so that a workspace may be used again at once


class Kernel(Protocol):
    """A function of Triton, compiled for each grid and each choice of its constants."""

    arg_names: Sequence[str]

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., object]: ...


class _Context(Context):
    workspace: Workspace[Any]


def run_window(
    workspaces: Workspaces[W], sizes: Hashable, starts: Tensor, operands: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Run a window in a workspace that is borrowed for it.

    :param sizes: sizes of the core
    :param starts: (T, B) booleans
    :param operands: those of the workspace: x (T, B, ·), weights, and the leaves of the state before the window
    :return: features (T, B, F) and the leaves after the window
    """
    x = operands[0]
    with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
        stream = torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0
        key = Key(sizes, starts.shape[0], starts.shape[1], learning(operands), x.dtype, x.device, stream)
        if key.keep:
            features, *after = _Window.apply(workspaces, key, starts, *operands)
        else:
            workspace, _token = _borrow(workspaces, key)
            features, after = workspace.run_forward(starts, *operands)
    return features, after


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context, workspaces: Workspaces[W], key: Key[Any], starts: Tensor, *operands: Tensor
    ) -> tuple[Tensor, ...]:
        workspace, token = _borrow(workspaces, key)
        ctx.workspace = workspace
        features, leaves = workspace.run_forward(starts, *operands)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(token)
        return features, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, grad_features: Tensor | None, *grad_leaves: Tensor | None) -> tuple[Tensor | None, ...]:
        (_token,) = ctx.saved_tensors  # raises if it was freed: the workspace may be somebody else's now
        return (None, None, None, *ctx.workspace.run_backward(grad_features, grad_leaves, ctx.needs_input_grad[3:]))


def _borrow(workspaces: Workspaces[W], key: Key[Any]) -> tuple[W, Tensor]:
    """A workspace and its token. Somebody else's graph gets its own, which its replays may overwrite at any time."""
    if key.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return workspaces.make(key), torch.empty(0)
    return workspaces.borrow(key)


class Workspace(abc.ABC, Generic[Z]):
    """The buffers of a window of one shape, and its forward and backward on them.

    A subclass makes the buffers that its kernels want, says which of them hold operands and results, and launches.

    :param key: what it is made for
    :param width: numbers F of a row's features
    """

    constants: dict[str, Constant]
    """Compile-time constants of the kernels, by the names of their arguments."""

    def __init__(self, key: Key[Z], width: int):
        self._key = key
        steps, batch = key.steps, key.batch
        self._starts = self._empty(steps + 1, batch, dtype=torch.uint8)
        self._starts[-1].zero_()
        self._features, self._previous = self._empty(steps, batch, width), self._empty(steps + 1, batch, width)
        self._grad_features = self._empty(steps, self._kept, width)  # from outside
        self._forward = Captured(key.device)
        self._backward = Captured(key.device)
        self._warps = 4

    @property
    def _kept(self) -> int:
        """The rows of what only a backward wants."""
        return self._key.batch if self._key.keep else 0

    def _empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        with torch.inference_mode(False):  # a tensor that is made inside cannot be written outside
            return torch.empty(shape, dtype=dtype or self._key.dtype, device=self._key.device)

    def _launch(self, kernel: Kernel, grid: tuple[int, ...], *arguments: Tensor | int) -> None:
        own = {name: self.constants[name] for name in kernel.arg_names if name in self.constants}
        kernel[grid](*arguments, **own, num_warps=self._warps)

    # --- for a subclass to say --------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _weights(self) -> list[Tensor]:
        """Buffers of x, of the weights, and of all other operands that precede the state."""

    @abc.abstractmethod
    def _leaves(self, t: int) -> list[Tensor]:
        """Views of the state before step t, where t is 0, or after all steps."""

    @abc.abstractmethod
    def _gradient_leaves(self, t: int) -> list[Tensor]:
        """Views of the gradients of the state before step t."""

    @abc.abstractmethod
    def _gradients(self, wanted: Sequence[bool]) -> list[Tensor | None]:
        """Gradients of the operands after the backward: of x and the weights, and of the others where wanted."""

    @abc.abstractmethod
    def _forward_steps(self) -> None:
        """Launches all steps."""

    @abc.abstractmethod
    def _backward_steps(self) -> None:
        """Launches all steps in reverse."""

    # --- forward and backward ---------------------------------------------------------------------------------------

    def run_forward(self, starts: Tensor, *operands: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run the forward; return copies of the features and of the leaves after the window."""
        self._starts[:-1].copy_(starts)
        for own, operand in zip([*self._weights(), *self._leaves(0)], operands, strict=True):
            own.copy_(operand)
        self._begin()
        self._forward(self._forward_steps)
        return self._features.clone(), [leaf.clone() for leaf in self._leaves(self._key.steps)]

    def _begin(self) -> None:
        """Prepare the first step: where an episode begins, it gets nothing of the features before."""
        self._previous[0].masked_fill_(self._starts[0].bool().unsqueeze(1), 0.0)

    def run_backward(
        self, grad_features: Tensor | None, grad_leaves: Sequence[Tensor | None], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The gradients of the operands: of x and the weights, and of the others where wanted."""
        own_grads = [self._grad_features, *self._gradient_leaves(self._key.steps)]
        for own, grad in zip(own_grads, [grad_features, *grad_leaves], strict=True):
            if grad is None:
                own.zero_()
            else:
                own.copy_(grad)
        self._backward(self._backward_steps)
        return self._gradients(wanted)
