"""A window of steps of an LSTM whose memory is written where it is used least, with a backward pass derived by hand.

It equals the loop of steps in :mod:`memagents.cores.mann`, built of :mod:`memagents.memory.least_used` and
:mod:`memagents.memory.addressing`, and takes fewer operations: what does not wait for another step is done for all
steps together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from memagents.memory.addressing import EPSILON, oneplus
from memagents.memory.least_used import least_used
from memagents.memory.scan import reset_steps


class Sizes(NamedTuple):
    """N slots, W width, R heads, H units."""

    slots: int
    width: int
    heads: int
    units: int
    decay: float  # γ
    strengths: bool  # whether the interface has them


def least_used_window(
    x: Tensor, starts: Tensor, weights: Sequence[Tensor], leaves: Sequence[Tensor], sizes: Sizes
) -> tuple[Tensor, ...]:
    """Run a window. Not differentiable twice.

    :param x: the inputs' share of the LSTM's gates, (T, B, 4 H)
    :param starts: (T, B) booleans
    :param weights: of the LSTM from [h; r], (4 H, H + R W), and of the interface, (R W + R or 2 R, H), and its biases
    :param leaves: M (B, N, W), w^u (B, N), w^r (B, R, N), r (B, R, W), h and c (B, H), before the window
    :return: [h; r] of all steps, (T, B, H + R W), and the leaves after the window
    """
    operands = (x, *weights, *leaves)
    if torch.is_grad_enabled() and any(operand.requires_grad for operand in operands):
        return _Window.apply(sizes, starts, *operands)
    return _run(sizes, starts, reset_steps(starts), None, *operands)


def _run(
    sizes: Sizes, starts: Tensor, resets: list[bool], tape: list[tuple[Tensor, ...]] | None, *operands: Tensor
) -> tuple[Tensor, ...]:
    """Run forward, and keep on the tape what the backward pass needs of each step."""
    x, recurrent, to_interface, bias, memory, usage, reading, vectors, hidden, cell = operands
    _, width, heads, units, decay, _ = sizes
    past, features = torch.cat([hidden, vectors.flatten(1)], dim=1), []
    for share, start, reset in zip(x.unbind(0), starts.unbind(0), resets, strict=True):
        if reset:
            row = start.unsqueeze(1)
            past, cell, usage = (leaf.masked_fill(row, 0) for leaf in (past, cell, usage))
            memory, reading = (leaf.masked_fill(row.unsqueeze(2), 0) for leaf in (memory, reading))
        gates = torch.addmm(share, past, recurrent.t())
        candidate = gates[:, 2 * units : 3 * units].tanh()
        gates.sigmoid_()[:, 2 * units : 3 * units] = candidate
        into, forget, _, out = gates.chunk(4, dim=1)
        old_cell, cell = cell, torch.addcmul(forget * cell, into, candidate)
        squashed = cell.tanh()
        hidden = out * squashed
        interface = torch.addmm(bias, hidden, to_interface.t())
        keys = interface[:, : heads * width].tanh().unflatten(1, (heads, width))
        opening = interface[:, heads * width : heads * width + heads].sigmoid().unsqueeze(2)
        least = least_used(usage, heads)
        writing = (opening * reading).scatter_add_(2, least.unsqueeze(2), 1 - opening)
        memory = memory.scatter(1, least.unsqueeze(2).expand(-1, -1, width), 0)
        memory = memory.baddbmm_(writing.transpose(1, 2), keys)
        lengths = memory.square().sum(dim=2).add_(EPSILON).sqrt_().unsqueeze(1)
        of_keys = keys.square().sum(dim=2).add_(EPSILON).sqrt_().unsqueeze(2)
        scale = torch.mul(of_keys, lengths).add_(EPSILON)
        cosines = torch.bmm(keys, memory.transpose(1, 2)).div_(scale)
        strengths = oneplus(interface[:, -heads:]).unsqueeze(2) if sizes.strengths else None
        old_reading, reading = reading, (cosines if strengths is None else cosines * strengths).softmax(dim=2)
        vectors = torch.bmm(reading, memory)
        usage = torch.add((reading + writing).sum(dim=1), usage, alpha=decay)
        old_past, past = past, torch.cat([hidden, vectors.flatten(1)], dim=1)
        features.append(past)
        if tape is not None:
            kept = (gates, old_cell, squashed, interface, keys, opening, least, writing, memory, lengths, of_keys)
            tape.append((*kept, scale, cosines, old_reading, reading, old_past))
    # Copies of what the tape holds: its owner, in the graph behind what is returned, would else hold itself.
    return torch.stack(features), memory.clone(), usage, reading.clone(), vectors, hidden, cell


class _Window(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sizes: Sizes, starts: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.sizes, ctx.resets, ctx.tape = sizes, reset_steps(starts), []
        outputs, *leaves = _run(sizes, starts, ctx.resets, ctx.tape, *operands)
        ctx.save_for_backward(starts, *operands[1:3], outputs)
        return outputs, *leaves

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        starts, recurrent, to_interface, outputs = ctx.saved_tensors
        slots, width, heads, units, decay, strong = ctx.sizes
        batch, reads = outputs.shape[1], heads * width

        def begin(grad: Tensor | None, *shape: int) -> Tensor:
            return (
                outputs.new_zeros(batch, *shape) if grad is None else grad.clone(memory_format=torch.contiguous_format)
            )

        d_outputs = outputs.new_zeros(outputs.shape) if grads[0] is None else grads[0]
        d_memory, d_reading = begin(grads[1], slots, width), begin(grads[3], heads, slots)
        d_usage = None if grads[2] is None else grads[2].clone()
        d_past = torch.cat([begin(grads[5], units), begin(grads[4], heads, width).flatten(1)], dim=1)
        d_cell = begin(grads[6], units)
        of_gates = outputs.new_empty(len(outputs), batch, 4 * units)
        of_interface = outputs.new_empty(len(outputs), batch, to_interface.shape[0])
        for t in range(len(outputs) - 1, -1, -1):
            gates, old_cell, squashed, interface, keys, opening, least, writing, memory, *rest = ctx.tape[t]
            lengths, of_keys, scale, cosines, old_reading, reading, _ = rest
            d_past = d_past + d_outputs[t]
            d_vectors = d_past[:, units:].unflatten(1, (heads, width))
            if d_usage is not None:
                d_reading = d_reading + d_usage.unsqueeze(1)
            # The read.
            d_reading = torch.baddbmm(d_reading, d_vectors, memory.transpose(1, 2))
            d_memory = d_memory.baddbmm_(reading.transpose(1, 2), d_vectors)
            d_scores = reading * (d_reading - (reading * d_reading).sum(dim=2, keepdim=True))
            own = of_interface[t]
            if strong:
                own[:, -heads:] = (d_scores * cosines).sum(dim=2) * interface[:, -heads:].sigmoid()
                d_scores = d_scores * oneplus(interface[:, -heads:]).unsqueeze(2)
            d_dots = d_scores.div_(scale)
            d_scale = cosines * d_dots  # with the other sign
            d_memory.baddbmm_(d_dots.transpose(1, 2), keys)
            d_memory.addcmul_(
                memory, ((d_scale * of_keys).sum(dim=1, keepdim=True) / lengths).transpose(1, 2), value=-1
            )
            d_keys = torch.bmm(d_dots, memory)
            d_keys.addcmul_(keys, (d_scale * lengths).sum(dim=2, keepdim=True).div_(of_keys), value=-1)
            # The write.
            d_writing = torch.bmm(keys, d_memory.transpose(1, 2))
            if d_usage is not None:
                d_writing += d_usage.unsqueeze(1)
                d_usage = decay * d_usage
            d_keys.baddbmm_(writing, d_memory)
            d_memory.scatter_(1, least.unsqueeze(2).expand(-1, -1, width), 0)
            d_opening = (d_writing * old_reading).sum(dim=2) - d_writing.gather(2, least.unsqueeze(2)).squeeze(2)
            d_reading = d_writing.mul_(opening)
            own[:, :reads] = torch.addcmul(d_keys, d_keys, keys.square(), value=-1).flatten(1)
            opened = opening.squeeze(2)
            own[:, reads : reads + heads] = d_opening * (opened - opened.square())
            # The controller.
            d_hidden = torch.addmm(d_past[:, :units], own, to_interface)
            into, forget, candidate, out = gates.chunk(4, dim=1)
            d_cell = d_cell + d_hidden * torch.addcmul(out, out, squashed.square(), value=-1)
            of_gate = torch.cat([d_cell * candidate, d_cell * old_cell, d_cell * into, d_hidden * squashed], dim=1)
            slopes = gates - gates.square()
            slopes[:, 2 * units : 3 * units] = 1 - candidate.square()
            torch.mul(of_gate, slopes, out=of_gates[t])
            d_cell = d_cell * forget
            d_past = torch.mm(of_gates[t], recurrent)
            if ctx.resets[t]:
                row = starts[t].unsqueeze(1)
                d_past, d_cell = d_past.masked_fill_(row, 0), d_cell.masked_fill_(row, 0)
                d_memory.masked_fill_(row.unsqueeze(2), 0)
                d_reading.masked_fill_(row.unsqueeze(2), 0)
                d_usage = None if d_usage is None else d_usage.masked_fill(row, 0)
        flat_gates, flat_interface = of_gates.flatten(0, 1), of_interface.flatten(0, 1)
        pasts = torch.cat([kept[-1] for kept in ctx.tape])
        of_weights = (
            flat_gates.t() @ pasts,
            flat_interface.t() @ outputs[..., :units].flatten(0, 1),
            flat_interface.sum(dim=0),
        )
        d_vectors = d_past[:, units:].unflatten(1, (heads, width))
        leaves = (d_memory, d_usage, d_reading, d_vectors, d_past[:, :units], d_cell)
        return (None, None, of_gates, *of_weights, *leaves)
