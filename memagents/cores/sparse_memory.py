"""The two sparse cores but for how they read (Rae et al. 2016, arXiv 1610.09027)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from memagents.checks import boolean, in_range, positive_int
from memagents.cores.core import (
    MemoryCore,
    Step,
    Unrolled,
    fall_back,
    full_precision,
    map_state,
    may_overwrite,
    restart_state,
    stack_dicts,
    state_leaves,
)
from memagents.cores.lstm import LSTMState, lstm_cell
from memagents.cores.sparse_states import NoIndex, SAMState, SDNCState
from memagents.kernels import choice
from memagents.memory import hashing, journal, sparse
from memagents.memory.addressing import oneplus
from memagents.memory.hashing import HashIndex
from memagents.memory.scan import reset_steps

Sparse = TypeVar("Sparse", bound=SAMState | SDNCState)

SEARCHES = ("exact", "lsh")
MOST_BITS = 16  # of a code, whatever the number of slots: hyperplanes for all of them are there
ACCESS_THRESHOLD = 0.005  # δ
PARTS_OF_A_STEP = ("initial_state", "advance", "read", "search", "_access", "_parse")  # that a kernel takes over


class Changes(NamedTuple):
    """Operations that change a memory of many slots: by copies, or in place."""

    write: Callable[..., Tensor]
    gather: Callable[..., tuple[Tensor, Tensor]]
    put: Callable[[Tensor, Tensor, Tensor], Tensor]


class SparseInterface(NamedTuple):
    """The vector p of section 3.3, parsed and squashed."""

    queries: Tensor  # q, (B, R, W)
    strengths: Tensor  # β, (B, R), oneplus
    write: Tensor  # a, (B, W)
    write_gate: Tensor  # α, (B, 1), sigmoid
    interpolation: Tensor  # γ, (B, 1), sigmoid
    head_shares: Tensor  # (B, R), softmax


class Written(NamedTuple):
    """The result of a step's write, and of the search after it."""

    memory: Tensor  # (B, N, W)
    indices: Tensor  # of w, (B, M)
    weights: Tensor  # of w, (B, M)
    nearest: Tensor  # (B, R, K)
    found: Tensor  # booleans (B, R, K), false where fewer slots were found


class Reading(NamedTuple):
    """The result of a step's read: of each head S entries."""

    memory: Tensor  # (B, N, W)
    indices: Tensor  # (B, R, S)
    weights: Tensor  # (B, R, S)
    vectors: Tensor  # (B, R, W)
    state: dict[str, Any]  # what else of the state it changed
    trace: dict[str, Tensor]


BY_COPIES = Changes(sparse.write, sparse.gather, sparse.put)
IN_PLACE = Changes(journal.write, journal.gather, journal.put)


def replaced(state: Sparse, **changes: Any) -> Sparse:
    """Return the state with some fields changed."""
    return state._replace(**changes)  # type: ignore[return-value]


class SparseMemoryCore(MemoryCore[Sparse]):
    """A core whose steps touch a few slots of a memory, and of tables with a row for every slot.

    A subclass says how it reads (``read``) and begins with :meth:`common_state`. What else of its state has a row for
    every slot, it names in ``tables``; no gradient goes through those. A fused kernel that equals its steps it names in
    ``kernel``; who inherits from it and overrides a part of a step has none.

    :param tables: fields of the state
    :param kernel: name of the window, see :func:`memagents.kernels.choice.window_for`
    :param sharpen_links: whether weightings that links give are sharpened
    """

    tables: tuple[str, ...]
    kernel: str | None = None
    sharpen_links: bool = False
    hyperplanes: Tensor | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fall_back(cls, "kernel", PARTS_OF_A_STEP, SparseMemoryCore)

    def __init__(
        self,
        input_size: int,
        slots: int,
        width: int,
        read_heads: int,
        reads: int,
        controller_size: int,
        output_size: int | None,
        search: str,
        hash_tables: int,
        bucket_size: int,
        ready_to_record: bool,
        write_penalty: float,
    ):
        controller_size = positive_int("controller_size", controller_size)
        super().__init__(input_size, controller_size if output_size is None else output_size)
        self.slots = positive_int("slots", slots)
        self.width = positive_int("width", width)
        self.read_heads = positive_int("read_heads", read_heads)
        self.reads = positive_int("reads", reads)
        if reads > slots:
            raise ValueError(f"reads must be at most slots ({slots}), not {reads}")
        self.controller_size = controller_size
        if search not in SEARCHES:
            raise ValueError(f"search must be one of {SEARCHES}, not {search!r}")
        self.hash_tables = positive_int("hash_tables", hash_tables)
        self.bucket_size = positive_int("bucket_size", bucket_size)
        # As many buckets in a table that they would be full if the slots were spread evenly.
        self.hash_bits = min(max(1, (slots - 1) // bucket_size).bit_length(), MOST_BITS)
        planes = hashing.hyperplanes(hash_tables, MOST_BITS, width) if search == "lsh" else None
        self.register_buffer("hyperplanes", planes)
        self.write_penalty = in_range("write_penalty", write_penalty, 0)
        read = read_heads * width
        self.input_gates = nn.Linear(input_size, 4 * controller_size)
        self.recurrent_gates = nn.Linear(controller_size + read, 4 * controller_size, bias=False)
        self.interface_sizes = (read, read_heads, width, 1, 1, read_heads)
        self.interface = nn.Linear(controller_size, sum(self.interface_sizes))
        self.output = nn.Linear(controller_size + read, self.output_size)
        if boolean("ready_to_record", ready_to_record):
            self._prepare_to_record()

    @torch.no_grad()
    def _prepare_to_record(self) -> None:
        """Biases under which the untrained core writes each step to a fresh slot and looks it up sharply."""
        parts = dict(zip(SparseInterface._fields, self.interface.bias.split(self.interface_sizes), strict=True))
        for name, bias in (("strengths", 8.0), ("write_gate", 3.0), ("interpolation", -3.0)):
            parts[name].fill_(bias)

    def common_state(self, batch_size: int, entries: int) -> dict[str, Any]:
        """The fields that both cores' states begin with.

        :param entries: S, of a head's read weighting
        """
        n, w, r, h = self.slots, self.width, self.read_heads, self.controller_size
        weight = self.output.weight
        clock = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return {
            "memory": weight.new_zeros(batch_size, n, w),
            # The first slot was accessed longest ago: if all were alike, each step would find the same one.
            "last_access": torch.arange(-n, 0, device=weight.device).repeat(batch_size, 1),
            "clock": clock,
            "read_indices": clock.new_zeros(batch_size, r, entries),
            "read_weights": weight.new_zeros(batch_size, r, entries),
            "read_vectors": weight.new_zeros(batch_size, r, w),
            "hashes": self.empty_index(batch_size),
            "controller": LSTMState(*(weight.new_zeros(batch_size, h) for _ in range(2))),
        }

    def read(
        self, interface: SparseInterface, written: Written, hidden: Tensor, state: Sparse, changes: Changes
    ) -> Reading:
        """Read, after the step's write.

        :param hidden: of the controller, (B, H)
        :param state: before the step
        :param changes: how the memory and the tables are changed
        """
        raise NotImplementedError

    def advance(self, x: Tensor, state: Sparse, changes: Changes, trace: bool) -> Step[Sparse]:
        """One step.

        :param changes: how the memory and the tables are changed
        :param trace: whether to make a trace; if not, it is empty
        """
        recurrent = torch.cat([state.controller.hidden, state.read_vectors.flatten(1)], dim=1)
        controller = lstm_cell(x + self.recurrent_gates(recurrent), state.controller.cell)
        interface = self.interface(controller.hidden)
        with full_precision(x):
            return self._access(self._parse(interface.to(state.memory.dtype)), controller, state, changes, trace)

    def _access(
        self, interface: SparseInterface, controller: LSTMState, state: Sparse, changes: Changes, trace: bool
    ) -> Step[Sparse]:
        """Take one step of the memory: write, read, and note what was accessed."""
        oldest = sparse.least_recently_accessed(state.last_access)
        last_reads = interface.head_shares.unsqueeze(2) * state.read_weights
        indices, weights = sparse.write_weighting(
            state.read_indices.flatten(1), last_reads.flatten(1), oldest, interface.interpolation, interface.write_gate
        )
        memory = changes.write(state.memory, indices, weights, interface.write, oldest)
        times = sparse.access_times(state.last_access, state.clock, indices, weights, ACCESS_THRESHOLD)
        last_access = changes.put(state.last_access, *times)

        nearest, found, hashes = self.search(
            memory.detach(), last_access, state.hashes, interface.queries, indices, changes
        )
        reading = self.read(
            interface, Written(memory, indices, weights, nearest, found), controller.hidden, state, changes
        )
        accessed = torch.cat([indices, reading.indices.flatten(1)], dim=1)
        access_weights = torch.cat([weights, reading.weights.flatten(1)], dim=1)
        times = sparse.access_times(last_access, state.clock, accessed, access_weights, ACCESS_THRESHOLD)
        last_access = changes.put(last_access, *times)

        shown = {}
        if trace:
            shown = {
                "write_weights": sparse.dense(indices, weights, self.slots),
                "cleared": functional.one_hot(oldest, self.slots),
                "erase": torch.zeros_like(interface.write),  # nothing but the slot that is cleared
                "add": interface.write,
                "read_weights": sparse.dense(reading.indices, reading.weights, self.slots),
                "last_access": last_access.clone(),
                "write_gate": interface.write_gate,
                "interpolation": interface.interpolation,
                "head_shares": interface.head_shares,
                # Copies: later steps change the tables in place.
                **{name: values.clone() for name, values in reading.trace.items()},
            }
        after = replaced(
            state,
            memory=reading.memory,
            last_access=last_access,
            clock=state.clock + 1,
            read_indices=reading.indices,
            read_weights=reading.weights,
            read_vectors=reading.vectors,
            hashes=hashes,
            controller=controller,
            **reading.state,
        )
        losses = {"write": self.write_penalty * weights.sum(1)} if self.write_penalty else {}
        features = torch.cat([controller.hidden, reading.vectors.flatten(1).to(controller.hidden.dtype)], dim=1)
        return Step(features, after, losses, shown)

    def _parse(self, interface: Tensor) -> SparseInterface:
        """Split the (B, ·) interface vector and squash its parts."""
        queries, strengths, write, write_gate, interpolation, head_shares = interface.split(self.interface_sizes, 1)
        return SparseInterface(
            queries=queries.unflatten(1, (self.read_heads, self.width)),
            strengths=oneplus(strengths),
            write=write,
            write_gate=write_gate.sigmoid(),
            interpolation=interpolation.sigmoid(),
            head_shares=head_shares.softmax(dim=-1),
        )

    def empty_index(self, batch_size: int) -> HashIndex | NoIndex:
        """Return the index of the search before anything was written."""
        if self.hyperplanes is None:
            return NoIndex()
        sizes = (self.slots, self.hash_tables, self.hash_bits, self.bucket_size)
        return hashing.empty_index(batch_size, *sizes, device=self.output.weight.device)

    def search(
        self,
        memory: Tensor,
        last_access: Tensor,
        index: HashIndex | NoIndex,
        queries: Tensor,
        changed: Tensor,
        changes: Changes,
    ) -> tuple[Tensor, Tensor, HashIndex | NoIndex]:
        """The slots that are most similar to each head's query.

        By hashing, those of the same code as the query in any of the tables are looked at, and those just changed.

        :param memory: (B, N, W)
        :param last_access: (B, N), negative where nothing was written
        :param index: before this step
        :param queries: (B, R, W)
        :param changed: slots that this step wrote, (B, M)
        :return: indices (B, R, K), booleans (B, R, K) that are false where fewer were found, and the index
        """
        if self.hyperplanes is None or isinstance(index, NoIndex):
            return *sparse.nearest(memory, last_access >= 0, queries, self.reads), index
        with torch.no_grad():
            planes = self.hyperplanes[:, : self.hash_bits]
            index = hashing.enter(index, changed, hashing.hash_codes(sparse.take(memory, changed), planes), changes.put)
            slots, known = hashing.candidates(index, hashing.hash_codes(queries, planes))
            recent = changed.unsqueeze(1).expand(-1, self.read_heads, -1)
            slots, known = torch.cat([slots, recent], dim=2), torch.cat([known, torch.ones_like(recent).bool()], dim=2)
            written = last_access >= 0
            indices, found = hashing.nearest_candidates(memory, written, slots, known, queries, self.reads)
            return indices, found, index

    def project(self, inputs: Tensor) -> Tensor:
        """The inputs' share of the controller's gates: (..., I) to (..., 4H)."""
        return self.input_gates(inputs)

    def readout(self, features: Tensor) -> Tensor:
        """y = W_y [h; r] (+ a bias): (..., H + R W) to (..., O)."""
        return self.output(features)

    def step(self, x: Tensor, state: Sparse) -> Step[Sparse]:
        return self.advance(x, state, BY_COPIES, trace=True)

    def recur(self, x: Tensor, state: Sparse, starts: Tensor, trace: bool = False) -> Unrolled[Sparse]:
        """Run :meth:`MemoryCore.recur`, but with one copy of the memory and its tables for the window, changed in
        place by each step: by a fused kernel where there is one, see :func:`memagents.kernels.choice.window_for`, else
        in torch (:mod:`memagents.memory.journal`). It cannot be differentiated twice.

        The kernel, for the CPU, knows the exact search and makes no trace.
        """
        if self.kernel is not None and self.hyperplanes is None and not trace:
            numbers = [leaf for leaf in state_leaves(state) if leaf.is_floating_point()]
            window = choice.window_for(self.kernel, [x, self.output.weight, *numbers])
            if window is not None:
                return self._recur_fused(window, x, state, starts)
        initial = self.initial_state(1)
        state = self._working_copy(state)
        steps = []
        for now, start, reset in zip(x.unbind(0), starts.unbind(0), reset_steps(starts), strict=True):
            if reset:
                state = self._restart(start, initial, state)
            step = self.advance(now, state, IN_PLACE, trace)
            state = step.state
            steps.append(step if trace else step._replace(trace={}))
        state = replaced(state, memory=journal.release(state.memory))
        outputs = self.readout(torch.stack([step.features for step in steps]))
        return Unrolled(outputs, state, stack_dicts([s.losses for s in steps]), stack_dicts([s.trace for s in steps]))

    def _recur_fused(self, window: choice.Window, x: Tensor, state: Sparse, starts: Tensor) -> Unrolled[Sparse]:
        """Run a window by the kernel."""
        own = self._own_tables(state)
        clock, indices = _own(state.clock), _own(state.read_indices)
        weight, bias = self.interface_weights()
        operands = (
            x, self.recurrent_gates.weight, weight, bias, state.memory, state.read_weights, state.read_vectors,
            *state.controller,
        )  # fmt: skip
        tables = (own["last_access"], clock, indices)
        links = own.get("links", ())
        found = window(starts, operands, self.reads, tables, links, self.sharpen_links, overwrite=may_overwrite())
        after = replaced(
            state,
            memory=found.memory,
            clock=clock,
            read_indices=indices,
            read_weights=found.read_weights,
            read_vectors=found.read_vectors,
            controller=LSTMState(found.hidden, found.cell),
            **own,
        )
        losses = {"write": self.write_penalty * found.written} if self.write_penalty else {}
        return Unrolled(self.readout(found.features), after, losses, {})

    def interface_weights(self) -> tuple[Tensor, Tensor]:
        """Weights and biases of all that a step makes of the hidden state."""
        return self.interface.weight, self.interface.bias

    def _working_copy(self, state: Sparse) -> Sparse:
        """The state with a memory and tables that may be changed in place, the latter without a history."""
        memory = state.memory.contiguous() if may_overwrite() else _copied(state.memory)
        return replaced(state, memory=memory, **self._own_tables(state))

    def _own_tables(self, state: Sparse) -> dict[str, Any]:
        """The tables by name, as they may be changed in place."""
        return {name: map_state(_own, getattr(state, name)) for name in self.tables}

    def _restart(self, start: Tensor, initial: Sparse, state: Sparse) -> Sparse:
        """:func:`restart_state`, in place where a leaf has a row for every slot.

        :param initial: the initial state of one row
        """
        parts: dict[str, Any] = {}
        for name, fresh, old in zip(state._fields, initial, state, strict=True):
            if name == "memory":
                parts[name] = journal.restart(state.memory, start, initial.memory)
            elif name in self.tables:
                parts[name] = map_state(lambda a, b: journal.overwrite(b, start, a), fresh, old)
            else:
                parts[name] = restart_state(start, fresh, old)
        return replaced(state, **parts)


def _own(leaf: Tensor) -> Tensor:
    """The leaf as it may be changed in place: a copy, or itself where that is allowed; contiguous and detached."""
    return leaf.contiguous() if may_overwrite() else _copied(leaf.detach())


def _copied(leaf: Tensor) -> Tensor:
    return leaf.clone(memory_format=torch.contiguous_format)
