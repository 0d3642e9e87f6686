"""Processes that learn one policy together, as ``torchrun`` begins them: which one this is, what they tell one another.

Each rank steps environments of its own. What they learn from is put together by ``torch.distributed`` (gloo, or NCCL on
GPUs): every function here that says "all ranks" must be called by all of them, in the same order. Where there is no
process group, there is one rank, and nothing is sent.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import Parameter


def rank() -> int:
    """Return the number of this process among those that learn together, from 0."""
    return distributed.get_rank() if _together() else 0


def size() -> int:
    """Return how many processes learn together."""
    return distributed.get_world_size() if _together() else 1


def share(name: str, count: int) -> int:
    """Return this rank's part of a number that all ranks have together.

    :param name: of the argument, for the message
    :raises ValueError: if it cannot be divided evenly
    """
    if count % size():
        raise ValueError(f"{name} must be a multiple of the number of processes ({size()}), not {count}")
    return count // size()


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[None]:
    """Join the processes that ``torchrun`` has begun, and leave them in the end; without it nothing happens.

    :param device: of the agent; where it may be a GPU, this process takes the one of its number on this machine
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _together():
        yield
        return
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu and device in ("auto", "cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, number, count = next(distributed.rendezvous("env://"))
    # The store outlives the processes, and where they are begun again holds the addresses of those before.
    life = distributed.PrefixStore(f"{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')} of {count}", store)
    distributed.init_process_group("nccl" if on_gpu else "gloo", store=life, rank=number, world_size=count)
    try:
        yield
        wait()  # nobody closes its connections while another still uses them
    finally:
        distributed.destroy_process_group()


# --- what all ranks do at once ----------------------------------------------------------------------------------------


def total(values: Tensor) -> Tensor:
    """The sum over all ranks, of tensors of the same shape."""
    if size() == 1:
        return values
    sent = values.detach().to(_device()).clone()
    distributed.all_reduce(sent)
    return sent.to(values.device)


def means(values: Sequence[Tensor]) -> list[Tensor]:
    """The means over all ranks of some tensors, in one message for each dtype."""
    found = list(values)
    for dtype in dict.fromkeys(value.dtype for value in values) if size() > 1 else ():
        places = [place for place, value in enumerate(values) if value.dtype == dtype]
        flat = total(torch.cat([values[place].flatten() for place in places])) / size()
        for place, part in zip(places, flat.split([values[place].numel() for place in places]), strict=True):
            found[place] = part.view_as(values[place])
    return found


def mean_gradients(parameters: Sequence[Parameter]) -> None:
    """Replace the gradients of parameters by their means over all ranks; where none has a part, there is none."""
    if size() == 1:
        return
    own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    for parameter, gradient in zip(parameters, means(own), strict=True):
        if parameter.grad is not None or gradient.any():
            parameter.grad = gradient


def mean_count(mask: Tensor) -> Tensor:
    """How often a mask is true, in the mean over all ranks; at least once on one of them.

    What is summed on each rank and divided by it becomes, in :func:`means`, the mean over the steps of all ranks.
    """
    return total(mask.sum()).clamp(min=1) / size()


def mean_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """The means of numbers by their names, over all ranks."""
    if size() == 1:
        return dict(figures)
    found = total(torch.tensor(list(figures.values()), dtype=torch.float64)) / size()
    return dict(zip(figures, found.tolist(), strict=True))


class Moments(NamedTuple):
    """Of rows (N, ...) of all ranks."""

    rows: Tensor  # N, a scalar
    mean: Tensor
    squares: Tensor  # the sum of squared differences from the mean


def moments(rows: Tensor) -> Moments:
    """Count the rows of all ranks, and take their mean and the sum of squared differences from it."""
    count, mean = total(torch.tensor(float(len(rows)), dtype=rows.dtype, device=rows.device)), rows.sum(0)
    mean = total(mean) / count
    return Moments(count, mean, total((rows - mean).square().sum(0)))


def anywhere(flag: bool) -> bool:
    """Return whether it is so on any rank."""
    return flag if size() == 1 else bool(total(torch.tensor(float(flag))) > 0)


def wait() -> None:
    """Wait until all ranks are here."""
    anywhere(False)


def gathered(data: bytes) -> list[bytes]:
    """The bytes of all ranks, in their order."""
    if size() == 1:
        return [data]
    lengths = [torch.zeros(1, dtype=torch.int64, device=_device()) for _ in range(size())]
    distributed.all_gather(lengths, torch.tensor([len(data)], device=_device()))
    longest = max(int(length) for length in lengths)
    own = torch.zeros(longest, dtype=torch.uint8)
    own[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else own[:0]
    found = [torch.zeros(longest, dtype=torch.uint8, device=_device()) for _ in range(size())]
    distributed.all_gather(found, own.to(_device()))
    return [part[: int(n)].cpu().numpy().tobytes() for part, n in zip(found, lengths, strict=True)]


def take_first(tensors: Sequence[Tensor]) -> None:
    """Give tensors on all ranks the values that they have on the first one, in place."""
    if size() == 1:
        return
    for tensor in tensors:
        sent = tensor.detach().to(_device()).contiguous().view(-1).view(torch.uint8)
        distributed.broadcast(sent, 0)
        with torch.no_grad():
            tensor.copy_(sent.view(tensor.dtype).view_as(tensor))


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _device() -> torch.device:
    """Where messages have to be."""
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
