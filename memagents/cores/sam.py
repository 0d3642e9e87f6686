"""Sparse Access Memory (Rae et al. 2016, arXiv 1610.09027, section 3)."""

from __future__ import annotations

from torch import Tensor

from memagents.cores import register_core
from memagents.cores.sparse_memory import Changes, Reading, SparseInterface, SparseMemoryCore, Written
from memagents.cores.sparse_states import SAMState
from memagents.memory import sparse


@register_core("sam")
class SAM(SparseMemoryCore[SAMState]):
    """An LSTM controller with an external memory of which a step reads K slots for each head, and writes those that it
    read last and the least recently accessed one.

    A step writes with w = α (γ r_{t-1} + (1 − γ) 1_LRA), for which the least recently accessed slot alone is first set
    to zero, and then reads the K slots most similar to each head's query. What was accessed with a weight above
    δ = 0.005 is recent. ``readout`` is y = W_y [h; r¹ … r^R].

    Where the paper leaves things open: the heads keep their weightings apart, and a step writes once, with their mean
    r_{t-1} in shares that the controller gives (one head: equation 5 as it stands); cosine similarity with a strength β
    of at least 1, as in the DNC; before anything was written, slots count as accessed one after another; and an empty
    slot is not read.

    ``unroll`` changes one copy of the memory in place (:mod:`memagents.memory.journal`). The cost of a step depends on
    the number of slots by two searches alone: through the memory for the reads and through N integers for the least
    recently accessed slot.

    :param input_size: width I of one input
    :param slots: number of memory slots N; no weight depends on it
    :param width: width W of a slot
    :param read_heads: number of read heads R
    :param reads: number of slots K that a head reads
    :param controller_size: units H of the LSTM controller
    :param output_size: width O of one output; by default ``controller_size``
    :param search: ``"exact"``, which looks at all slots for the most similar ones, or ``"lsh"``, which looks at those
        with a code of the query's by locality-sensitive hashing (:mod:`memagents.memory.hashing`)
    :param hash_tables: tables of the hashing
    :param bucket_size: slots that a bucket of a table holds
    :param ready_to_record: begin with biases under which every step is written to a fresh slot and looked up sharply by
        content, as in :class:`memagents.cores.dnc.DNC`; false for small random ones
    :param write_penalty: above 0, a loss "write" is added: so much times the sum of a step's write weighting
    """

    tables = ("last_access", "hashes")
    kernel = "sparse"

    def __init__(
        self,
        input_size: int,
        slots: int = 256,
        width: int = 24,
        read_heads: int = 2,
        reads: int = 4,
        controller_size: int = 64,
        output_size: int | None = None,
        search: str = "exact",
        hash_tables: int = 8,
        bucket_size: int = 8,
        ready_to_record: bool = True,
        write_penalty: float = 0.0,
    ):
        super().__init__(
            input_size,
            slots,
            width,
            read_heads,
            reads,
            controller_size,
            output_size,
            search,
            hash_tables,
            bucket_size,
            ready_to_record,
            write_penalty,
        )

    def initial_state(self, batch_size: int) -> SAMState:
        return SAMState(**self.common_state(batch_size, self.reads))

    def read(
        self, interface: SparseInterface, written: Written, hidden: Tensor, state: SAMState, changes: Changes
    ) -> Reading:
        """Read by content alone."""
        indices = written.nearest
        memory, rows = changes.gather(written.memory, indices.flatten(1))
        rows = rows.unflatten(1, indices.shape[1:])  # (B, R, K, W)
        weights = sparse.content_weights(rows, written.found, interface.queries, interface.strengths)
        return Reading(memory, indices, weights, sparse.read(rows, weights), {}, {})
