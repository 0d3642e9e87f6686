"""The NTM forward and backward over a window: the fused CPU kernel, the plain loop it equals, and a public design.

The last is how public implementations do it, written here in eager PyTorch: one step after another, a module for each
head, and the shift of a weighting convolved row by row of the batch. "Batched" has one convolution for all rows.

python benchmarks/ntm.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import tyro
from report import show
from torch import Tensor, nn
from torch.nn import functional as F
from turns import KernelBenchmark, Makers, kernel_rows
from windows import Turn, WindowSize, turn_of, window_of

from memagents.cores.core import unroll_by_steps
from memagents.cores.ntm import NTM

INPUT_SIZE = 9
SIZES = [WindowSize(16, 40, 128, 20, 1, 100), WindowSize(64, 128, 128, 20, 1, 100)]


class Head(nn.Module):
    """Addresses the memory (Graves et al. 2014, equations 5 to 9); a write head also gives what to erase and to add."""

    def __init__(self, size: WindowSize, writes: bool, row_by_row: bool):
        super().__init__()
        self.width, self.writes, self.row_by_row = size.width, writes, row_by_row
        self.parts = [size.width, 1, 1, 3, 1] + ([size.width, size.width] if writes else [])
        self.interface = nn.Linear(size.hidden, sum(self.parts))

    def forward(self, hidden: Tensor, memory: Tensor, before: Tensor) -> tuple[Tensor, list[Tensor]]:
        key, strength, gate, shift, sharpening, *write = self.interface(hidden).split(self.parts, dim=1)
        likeness = F.cosine_similarity(memory + 1e-16, key.unsqueeze(1) + 1e-16, dim=-1)
        content = torch.softmax(F.softplus(strength) * likeness, dim=1)
        gate = gate.sigmoid()
        mixed = self.shifted(gate * content + (1 - gate) * before, shift.softmax(1))
        sharp = mixed ** (1 + F.softplus(sharpening))
        return sharp / (sharp.sum(1, keepdim=True) + 1e-16), write

    def shifted(self, weights: Tensor, shift: Tensor) -> Tensor:
        around = torch.cat([weights[:, -1:], weights, weights[:, :1]], dim=1)
        if self.row_by_row:
            rows = zip(around, shift, strict=True)
            return torch.stack([F.conv1d(w.view(1, 1, -1), s.view(1, 1, -1)).view(-1) for w, s in rows])
        return F.conv1d(around.unsqueeze(0), shift.unsqueeze(1), groups=len(shift)).squeeze(0)


class PublicNTM(nn.Module):
    """An LSTM controller, a read head and a write head."""

    def __init__(self, size: WindowSize, row_by_row: bool):
        super().__init__()
        self.size = size
        self.controller = nn.LSTM(INPUT_SIZE + size.width, size.hidden)
        self.read_head, self.write_head = Head(size, False, row_by_row), Head(size, True, row_by_row)
        self.output = nn.Linear(size.hidden + size.width, size.hidden)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs (T, B, H) of inputs (T, B, I)."""
        batch, (slots, width) = inputs.shape[1], (self.size.slots, self.size.width)
        memory, read = torch.full((batch, slots, width), 1e-6), torch.zeros(batch, width)
        reading = writing = torch.full((batch, slots), 1 / slots)
        state, outputs = None, []
        for x in inputs.unbind(0):
            hidden, state = self.controller(torch.cat([x, read], dim=1).unsqueeze(0), state)
            hidden = hidden.squeeze(0)
            reading, _ = self.read_head(hidden, memory, reading)
            read = (reading.unsqueeze(1) @ memory).squeeze(1)
            writing, (erase, add) = self.write_head(hidden, memory, writing)
            erased = 1 - writing.unsqueeze(2) * erase.sigmoid().unsqueeze(1)
            memory = memory * erased + writing.unsqueeze(2) * add.unsqueeze(1)
            outputs.append(self.output(torch.cat([hidden, read], dim=1)))
        return torch.stack(outputs)


def public(size: WindowSize, row_by_row: bool) -> Turn:
    """Return a window of the public design, from the beginning of an episode."""
    model, inputs = PublicNTM(size, row_by_row), torch.randn(size.steps, size.batch, INPUT_SIZE)
    return turn_of(model, lambda: model(inputs))


def ours(size: WindowSize, fused: bool) -> Turn:
    """Return a window of our core."""
    core = NTM(INPUT_SIZE, slots=size.slots, width=size.width, controller_size=size.hidden)
    return window_of(core, size.batch, size.steps, INPUT_SIZE, NTM.unroll if fused else unroll_by_steps)


MAKERS: Makers = {
    "fused": (ours, (True,)),
    "plain loop": (ours, (False,)),
    "public": (public, (True,)),
    "batched": (public, (False,)),
}


def main(settings: KernelBenchmark) -> None:
    """Print one table."""
    rows = []
    for size in SIZES:
        shape = [f"{size.batch} × {size.steps}", f"{size.slots} × {size.width}", str(size.hidden)]
        rows += kernel_rows(size, shape, MAKERS, settings)
    title = "NTM with one read head and one write head, forward + backward: ms (times the fused kernel), peak MiB"
    show(title, ["batch × steps", "memory", "controller", "threads", *MAKERS, "steps/s, fused"], rows)


if __name__ == "__main__":
    main(tyro.cli(KernelBenchmark, description=__doc__))
