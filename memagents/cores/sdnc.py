"""Sparse Differentiable Neural Computer (Rae et al. 2016, arXiv 1610.09027, Supplement D)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from memagents.checks import boolean, positive_int
from memagents.cores import register_core
from memagents.cores.sparse_memory import Changes, Reading, SparseInterface, SparseMemoryCore, Written
from memagents.cores.sparse_states import SDNCState
from memagents.memory import sparse, sparse_linkage
from memagents.memory.addressing import oneplus


@register_core("sdnc")
class SDNC(SparseMemoryCore[SDNCState]):
    """A SAM that also reads in the order of writing, as the DNC does, with a few links for each slot.

    A step writes as :class:`memagents.cores.sam.SAM` does: there is neither a write key nor the DNC's allocation. Then
    each head reads by r = π[1] b + π[2] c + π[3] f: the slots written before those that it read last, those most
    similar to its query, and those written after. Of each of the three it takes the K slots with the largest weights,
    where the paper only says that weightings are sparse. No gradient goes through the links, as in the paper; it does
    go through the weightings that follow them.

    ``unroll`` changes the memory and the links in place (:mod:`memagents.memory.journal`). The cost of a step depends
    on the number of slots by the two searches of a SAM alone.

    :param input_size: width I of one input
    :param slots: number of memory slots N; no weight depends on it
    :param width: width W of a slot
    :param read_heads: number of read heads R
    :param reads: number of slots K that a head reads by each of its three modes
    :param links: number of links K_L that a slot keeps in each direction
    :param controller_size: units H of the LSTM controller
    :param output_size: width O of one output; by default ``controller_size``
    :param search: ``"exact"`` or ``"lsh"``, as in :class:`memagents.cores.sam.SAM`
    :param hash_tables: tables of the hashing
    :param bucket_size: slots that a bucket of a table holds
    :param ready_to_record: begin with biases under which every step is written to a fresh slot and looked up sharply by
        content, as in :class:`memagents.cores.dnc.DNC`; false for small random ones
    :param write_penalty: above 0, a loss "write" is added: so much times the sum of a step's write weighting
    :param sharpen_links: raise the weightings that the links give to a power of at least 1, of each head and direction
        (DNC-S of Csordás and Schmidhuber 2019, arXiv 1904.10278, section 3.3, here over the slots that are linked)
    """

    tables = ("last_access", "hashes", "links")
    kernel = "sparse"

    def __init__(
        self,
        input_size: int,
        slots: int = 256,
        width: int = 24,
        read_heads: int = 2,
        reads: int = 4,
        links: int = 8,
        controller_size: int = 64,
        output_size: int | None = None,
        search: str = "exact",
        hash_tables: int = 8,
        bucket_size: int = 8,
        ready_to_record: bool = True,
        write_penalty: float = 0.0,
        sharpen_links: bool = False,
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
        self.links = positive_int("links", links)
        self.read_modes = nn.Linear(controller_size, 3 * read_heads)
        self.sharpen_links = boolean("sharpen_links", sharpen_links)
        self.sharpness = nn.Linear(controller_size, 2 * read_heads) if sharpen_links else None
        if ready_to_record:
            with torch.no_grad():
                self.read_modes.bias.view(-1, 3).copy_(torch.tensor([-1.0, 2.0, -1.0]))  # backward, content, forward

    def interface_weights(self) -> tuple[Tensor, Tensor]:
        """The same with the read modes, and the sharpness if there is one, behind."""
        layers = [layer for layer in (self.interface, self.read_modes, self.sharpness) if layer is not None]
        return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])

    def initial_state(self, batch_size: int) -> SDNCState:
        links = sparse_linkage.no_links(batch_size, self.slots, self.links, like=self.output.weight.detach())
        return SDNCState(**self.common_state(batch_size, 3 * self.reads), links=links)

    def read(
        self, interface: SparseInterface, written: Written, hidden: Tensor, state: SDNCState, changes: Changes
    ) -> Reading:
        """Backward, by content and forward, each head in its own shares."""
        with torch.no_grad():
            links = sparse_linkage.update_links(state.links, written.indices, written.weights, changes.put)
        last = (state.read_indices, state.read_weights, self.reads)
        before, backward = sparse_linkage.backward_weighting(links, *last)
        after, forward = sparse_linkage.forward_weighting(links, *last)
        shown = {"link_slots": links.before, "link_weights": links.before_weights}
        if self.sharpness is not None:
            raised = oneplus(self.sharpness(hidden).to(backward.dtype)).unflatten(1, (2, self.read_heads))
            backward = sparse_linkage.sharpened(backward, raised[:, 0])
            forward = sparse_linkage.sharpened(forward, raised[:, 1])
            shown["sharpness"] = raised
        indices = torch.cat([before, written.nearest, after], dim=2)  # (B, R, 3 K)
        memory, rows = changes.gather(written.memory, indices.flatten(1))
        rows = rows.unflatten(1, indices.shape[1:])  # (B, R, 3 K, W)
        alike = rows[:, :, self.reads : 2 * self.reads]
        content = sparse.content_weights(alike, written.found, interface.queries, interface.strengths)
        modes = self.read_modes(hidden.to(content.dtype)).unflatten(1, (self.read_heads, 3)).softmax(dim=-1)
        weights = torch.stack([backward, content, forward], dim=2) * modes.unsqueeze(3)  # (B, R, 3, K)
        weights = weights.flatten(2)
        shown["read_modes"] = modes
        return Reading(memory, indices, weights, sparse.read(rows, weights), {"links": links}, shown)
