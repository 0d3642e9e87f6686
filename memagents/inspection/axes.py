"""What the axes of a core's trace mean, so that a picture can say it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from memagents.cores.core import MemoryCore
from memagents.cores.dropout import Dropout
from memagents.cores.pair import CRITIC, Pair

SLOT, AGE, HEAD, UNIT, NUMBER = "slot", "age", "head", "unit", "number"

# By the name of a tensor, the names of its axes from the last one on.
_ATTENTION = re.compile(r"(layer|hop|pass|depth|retrieval)(_\d+)?_weights")
_NAMED: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (_ATTENTION, (AGE, HEAD)),
    (re.compile(r"block_\d+_weights"), ("slot read", SLOT, HEAD)),
    (re.compile(r"(read|write)_weights|write_gates"), (SLOT, HEAD)),
    (re.compile(r"usage|allocation|last_access|cleared"), (SLOT,)),
    (re.compile(r"link_(slots|weights)"), ("link", SLOT)),
    (re.compile(r"read_modes"), ("backward, content, forward", HEAD)),
    (re.compile(r"shift_weights"), ("shift", HEAD)),
    (re.compile(r"erase|add|read_vectors|read_masks|write_mask"), (NUMBER, HEAD)),
    (re.compile(r"sharpness"), (HEAD, "backward, forward")),
    (re.compile(r"free_gates|strengths|interpolation_gates|sharpening|head_shares"), (HEAD,)),
    (re.compile(r"hidden|cell"), (UNIT,)),
    (re.compile(r"(input|forget|output|reset|update)_gate"), (UNIT, SLOT)),
    (re.compile(r"update_weights"), ("depth",)),
    (re.compile(r"neighbour_\w+"), ("neighbour", "action")),
)
_OTHERS = ("column", "row")  # of what nobody named


def axes_of(core: MemoryCore, trace: Mapping[str, Tensor]) -> dict[str, tuple[str, ...]]:
    """Return the names of the axes of each tensor of a trace, as many as it has beyond steps and rows.

    Along ``age`` the last place is the step itself, and each place before it is one step older.

    :param core: whose trace it is; one that nobody knows has ``row`` and ``column``, but for the weights by which it
        writes slots and reads them, see :mod:`memagents.inspection.provenance`
    :param trace: tensors (T, B, ...) by name
    """
    if isinstance(core, Pair):
        critics = {name.removeprefix(CRITIC): values for name, values in trace.items() if name.startswith(CRITIC)}
        actors = {name: values for name, values in trace.items() if not name.startswith(CRITIC)}
        of_critic = {CRITIC + name: axes for name, axes in axes_of(core.critic, critics).items()}
        return {**axes_of(core.actor, actors), **of_critic}
    if isinstance(core, Dropout):
        return axes_of(core.core, trace)
    known = trace if type(core).__module__.startswith("memagents.") else _of_slots(trace)
    return {name: _axes(name if name in known else "", values.dim() - 2) for name, values in trace.items()}


def named(core: MemoryCore) -> str:
    """Return the name of a memory by its class; of an actor's and a critic's own both names."""
    if isinstance(core, Pair):
        return f"{named(core.actor)}, critic {named(core.critic)}"
    return named(core.core) if isinstance(core, Dropout) else type(core).__name__


def _of_slots(trace: Mapping[str, Tensor]) -> list[str]:
    """Return which tensors of any core's trace are weights of slots, (T, B, N) or (T, B, heads, N).

    Reads count where as many slots are written.
    """
    found = {name: trace[name] for name in ("write_weights", "read_weights") if name in trace}
    slots = {name: values.shape[-1] for name, values in found.items() if values.dim() in (3, 4)}
    return [name for name in slots if slots[name] == slots.get("write_weights")]


def _axes(name: str, count: int) -> tuple[str, ...]:
    """Return the names of so many axes, the last one last."""
    known = next((axes for pattern, axes in _NAMED if pattern.fullmatch(name)), ())
    named = [*known, *_OTHERS[len(known) :], *(f"axis {number}" for number in range(3, count + 1))]
    return tuple(reversed(named[:count]))
