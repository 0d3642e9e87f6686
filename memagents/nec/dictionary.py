"""The differentiable neural dictionary of Neural Episodic Control: Pritzel et al. 2017 (arXiv 1703.01988), section 3.1.

Situations with the key that an encoder gave them and an estimate of Q, one dictionary for each action. A look-up is the
mean of the values of the P nearest keys, weighted by a kernel. Model-free episodic control (Blundell et al. 2016, arXiv
1606.04460) is the same with another kernel, another rule for writing, and keys that never move.

Letters in shapes: A actions, C capacity of an action's dictionary, W width of a key, B queries, P neighbours, N writes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from memagents.checks import in_range, positive_int
from memagents.nec import search as exact
from memagents.nec.faiss_search import FaissSearch
from memagents.nec.index import Index, check, settle

KERNELS = ("inverse_distance", "mean")
RULES = ("blend", "max")
SEARCHES = ("exact", "faiss")
_MOST_SEEN = 64  # look-ups whose rows may wait on the device


class Lookup(NamedTuple):
    """Result of a look-up."""

    values: Tensor  # (B,): estimates of Q, differentiable in the queries, ``keys`` and ``stored``
    rows: Tensor  # (B, P) int64: of the neighbours from the nearest on, -1 where there are fewer
    weights: Tensor  # (B, P): the kernel, normalised; 0 where there is no neighbour
    keys: Tensor  # (B, P, W): of the neighbours; a leaf that requires a gradient if that was asked for
    stored: Tensor  # (B, P): their values; likewise
    actions: Tensor  # (B,) int64


class Answers(NamedTuple):
    """Entries that answer for B queries in the dictionaries of all A actions, from the nearest on.

    Where there are fewer than P, rows and ages are −1, weights and stored values 0.
    """

    rows: Tensor  # (B, A, P) int64
    weights: Tensor  # (B, A, P): the kernel, normalised
    stored: Tensor  # (B, A, P): what is remembered of Q
    ages: Tensor  # (B, A, P) int64: how many entries of the action were seen or written since, 0 for the latest


class Dictionary(nn.Module):
    """One differentiable neural dictionary for each action.

    Keys and values are buffers that a ``state_dict`` does not have; :meth:`tree` gives them, and everything else.

    :param n_actions: A
    :param width: W
    :param capacity: C
    :param neighbours: P
    :param kernel: ``"inverse_distance"``, k(h, h_i) = 1 / (‖h − h_i‖² + δ) (equation 5), or ``"mean"``, all neighbours
        alike (Blundell et al. 2016, equation 2)
    :param delta: δ, in [1e-9, inf)
    :param rule: what becomes of the value of a situation that is written again: ``"blend"``, Q ← Q + α (new − Q)
        (equation 4), or ``"max"``, the larger of the two (Blundell et al. 2016, equation 1)
    :param rate: α, in [0, 1]
    :param search: ``"exact"``, or ``"faiss"``: approximate, for keys that never move (needs the package faiss-cpu)
    :raises ValueError: an argument that is none of these
    """

    keys: Tensor  # (A, C, W) float32
    values: Tensor  # (A, C) float32
    half_norms: Tensor  # (A, C) float32: |k|²/2

    def __init__(
        self,
        n_actions: int,
        width: int,
        capacity: int = 500_000,
        neighbours: int = 50,
        *,
        kernel: str = "inverse_distance",
        delta: float = 1e-3,
        rule: str = "blend",
        rate: float = 0.1,
        search: str = "exact",
    ):
        super().__init__()
        self.n_actions = positive_int("n_actions", n_actions)
        self.width = positive_int("width", width)
        self.capacity = positive_int("capacity", capacity)
        self.neighbours = positive_int("neighbours", neighbours)
        self.kernel, self.rule = _one_of("kernel", kernel, KERNELS), _one_of("rule", rule, RULES)
        self.delta, self.rate = in_range("delta", delta, 1e-9), in_range("rate", rate, 0, 1)
        self._index = Index(n_actions, capacity)
        self._seen: list[Tensor] = []  # flat rows that the index does not know of yet
        # Unfilled, so that memory is taken as entries come.
        self.register_buffer("keys", torch.zeros(n_actions, capacity, width), persistent=False)
        self.register_buffer("values", torch.zeros(n_actions, capacity), persistent=False)
        self.register_buffer("half_norms", torch.zeros(n_actions, capacity), persistent=False)
        self._approximate = FaissSearch(n_actions, width) if _one_of("search", search, SEARCHES) == "faiss" else None

    @property
    def counts(self) -> np.ndarray:
        """Numbers of entries, int64 (A,)."""
        return self._index.counts.copy()

    def __len__(self) -> int:
        return int(self._index.counts.sum())

    # --- reading ----------------------------------------------------------------------------------------------------

    def lookup(self, queries: Tensor, actions: Tensor, *, learn: bool = False, touch: bool = True) -> Lookup:
        """The estimate of each query in its action's dictionary; 0 where that is empty.

        :param queries: h, (B, W)
        :param actions: int64 (B,), each in 0 to A - 1
        :param learn: the neighbours' keys and values get gradients, for :meth:`descend`
        :param touch: to be a neighbour keeps an entry from being evicted
        :raises ValueError: wrong shapes or actions, or ``learn`` with a search that needs keys that never move
        """
        if learn and self._approximate is not None:
            raise ValueError('learn must be False with search="faiss", whose index does not follow keys that move')
        queries = self._checked_queries(queries)
        chosen = self._checked_actions(actions, len(queries))
        rows = torch.full((len(queries), self.neighbours), -1, device=queries.device)
        for action in np.unique(chosen):
            of_action = torch.from_numpy(np.flatnonzero(chosen == action)).to(queries.device)
            rows[of_action] = self._nearest(int(action), queries.detach()[of_action])[1]
        actions = actions.to(queries.device, torch.int64)
        found = rows >= 0
        flat = (actions.unsqueeze(1) * self.capacity + rows).where(found, 0)
        if touch:
            self._see(flat.where(found, -1))
        # An unfilled row may hold anything, NaN included.
        keys = self.keys.flatten(0, 1).index_select(0, flat.flatten()).view(*flat.shape, self.width)
        keys = keys.masked_fill_(~found.unsqueeze(2), 0).requires_grad_(learn)
        stored = self.values.take(flat).masked_fill_(~found, 0).requires_grad_(learn)
        weights = self._weights((keys - queries.unsqueeze(1)).square().sum(2), found)
        return Lookup((weights * stored).sum(1), rows, weights, keys, stored, actions)

    @torch.no_grad()
    def lookup_all(self, queries: Tensor, *, ids: Tensor | None = None, touch: bool = True) -> Tensor:
        """The estimates of each query in the dictionaries of all actions.

        :param queries: (B, W)
        :param ids: int64 (B,): a situation that is there answers with its own value (Blundell et al. 2016, equation 2),
            and that entry alone is seen
        :param touch: as for :meth:`lookup`
        :return: (B, A), without gradients
        """
        queries = self._checked_queries(queries, ids=ids)
        answers = (self._answer(action, queries, ids, touch) for action in range(self.n_actions))
        return torch.stack([(weights * stored).sum(1) for _, weights, stored in answers], dim=1)

    @torch.no_grad()
    def answers(self, queries: Tensor, *, ids: Tensor | None = None) -> Answers:
        """Return the entries that :meth:`lookup_all` makes its estimates of; none of them counts as seen.

        :param queries: (B, W)
        :param ids: int64 (B,), as there
        """
        queries = self._checked_queries(queries, ids=ids)
        self._tell_index()
        found = []
        for action in range(self.n_actions):
            rows, weights, stored = self._answer(action, queries, ids, touch=False)
            order = torch.from_numpy(self._index.order(action)).long()
            ages = torch.full((len(order) + 1,), -1)  # the last entry is for the row −1
            ages[order] = torch.arange(len(order)).flip(0)
            found.append((rows, weights, stored, ages.to(rows.device)[rows]))
        return Answers(*(torch.stack(parts, dim=1) for parts in zip(*found, strict=True)))

    def _answer(self, action: int, queries: Tensor, ids: Tensor | None, touch: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, weights and stored values of the entries that answer in one action's dictionary, (B, P) each."""
        rows = torch.full((len(queries), self.neighbours), -1, device=queries.device)
        distances = torch.full_like(rows, torch.inf, dtype=queries.dtype)
        asked = torch.arange(len(queries), device=queries.device)
        if ids is not None:
            own = torch.from_numpy(self._index.find(action, _host(ids, np.int64)))
            rows[:, 0] = own.to(queries.device)
            distances[:, 0] = torch.where(rows[:, 0] >= 0, 0, torch.inf)
            asked = torch.nonzero(own < 0).flatten().to(queries.device)
        if len(asked):
            distances[asked], rows[asked] = self._nearest(action, queries[asked])
        found = rows >= 0
        if touch:
            self._see((rows + action * self.capacity).where(found, -1))
        stored = self.values[action, rows.where(found, 0)].masked_fill(~found, 0)
        return rows, self._weights(distances, found), stored

    def _nearest(self, action: int, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances and rows of the P nearest, (B, P), infinite and -1 where there are fewer."""
        count = int(self._index.counts[action])
        distances = queries.new_full((len(queries), self.neighbours), torch.inf)
        rows = torch.full_like(distances, -1, dtype=torch.int64)
        if count and len(queries):
            keys, half_norms = self.keys[action, :count], self.half_norms[action, :count]
            if self._approximate is None:
                near = exact.nearest(keys, half_norms, queries, self.neighbours)
            else:
                near = self._approximate.nearest(action, keys, half_norms, queries, self.neighbours)
            there = near[0].shape[1]
            distances[:, :there], rows[:, :there] = near
        return distances, rows

    def _weights(self, distances: Tensor, found: Tensor) -> Tensor:
        """The kernel of squared distances (B, P), normalised over the neighbours that were found."""
        if self.kernel == "mean":
            kernel = found.to(distances.dtype)
        else:
            kernel = (1 / (distances + self.delta)).masked_fill(~found, 0)
        return kernel / kernel.sum(1, keepdim=True).where(found[:, :1], 1)

    # --- changing ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def descend(self, lookup: Lookup, learning_rate: float) -> None:
        """A step of gradient descent on the keys and values of a look-up, from their ``grad``.

        An entry that is a neighbour of several queries takes the sum of their gradients. Nothing may have been written
        since the look-up.

        :param lookup: made with ``learn=True``, after ``backward()``
        :param learning_rate: in [0, inf)
        """
        learning_rate = in_range("learning_rate", learning_rate, 0)
        if lookup.stored.grad is None:
            raise ValueError("lookup must be made with learn=True and have gradients: call backward() on its values")
        # Where there is no neighbour the gradient is 0, and does no harm to row 0.
        flat = (lookup.actions.unsqueeze(1) * self.capacity + lookup.rows.clamp(min=0)).flatten()
        self.values.flatten().index_add_(0, flat, lookup.stored.grad.flatten(), alpha=-learning_rate)
        if lookup.keys.grad is not None:  # a plain mean does not depend on the keys
            keys = self.keys.flatten(0, 1)
            keys.index_add_(0, flat, lookup.keys.grad.flatten(0, 1), alpha=-learning_rate)
            half_norms = exact.half_squared_norms(keys.index_select(0, flat))
            self.half_norms.flatten().index_copy_(0, flat, half_norms)

    @torch.no_grad()
    def write(self, keys: Tensor, actions: Tensor, values: Tensor, ids: Tensor) -> None:
        """Write situations, one after another: N writes of one are the same.

        One that is there gets the new key, and a value by the rule. Another is added, in the place of the entry that
        has least recently been a neighbour (or been written) where the dictionary is full.

        :param keys: h, (N, W)
        :param actions: int64 (N,)
        :param values: (N,)
        :param ids: what makes situations the same ones, int64 (N,)
        :raises ValueError: wrong shapes or actions, or keys or values that are not finite
        """
        keys = self._checked_queries(keys, "keys")
        chosen = self._checked_actions(actions, len(keys))
        for name, given in (("values", values), ("ids", ids)):
            if given.shape != keys.shape[:1]:
                raise ValueError(f"{name} must be ({len(keys)},), not {tuple(given.shape)}")
        for name, given in (("keys", keys), ("values", values)):
            if not given.isfinite().all():
                raise ValueError(f"{name} must be finite")
        self._tell_index()
        rows, fresh = self._index.place(chosen, _host(ids, np.int64))
        flat, places = np.unique(chosen * self.capacity + rows, return_inverse=True)
        last = np.empty(len(flat), np.int64)
        last[places] = np.arange(len(keys))  # of several the last stays
        where = torch.from_numpy(flat).to(keys.device)
        latest = keys[torch.from_numpy(last).to(keys.device)]
        before = self.values.flatten()[where].cpu().numpy()
        after = settle(before, places, fresh, _host(values, before.dtype), self.rate, self.rule == "max")
        self.keys.flatten(0, 1)[where] = latest
        self.half_norms.flatten()[where] = exact.half_squared_norms(latest)
        self.values.flatten()[where] = torch.from_numpy(after).to(where.device)
        if self._approximate is not None:
            self._approximate.wrote(flat // self.capacity, flat % self.capacity, self.keys, self._index.counts)

    def _see(self, flat: Tensor) -> None:
        """Note that rows, counted over all actions, have been neighbours; the index learns of it later."""
        self._seen.append(flat)
        if len(self._seen) >= _MOST_SEEN:
            self._tell_index()

    def _tell_index(self) -> None:
        for flat in self._seen:
            self._index.touch(_host(flat, np.int64).ravel())
        self._seen.clear()

    # --- saving -----------------------------------------------------------------------------------------------------

    def tree(self) -> dict[str, Any]:
        """Everything, for :func:`memagents.runs.trees.write_tree`: for each action the entries there are, copied.

        ``keys`` (count, W), ``values`` (count,), ``ids`` (count,), ``order``, the rows from the one seen least recently
        on, (count,), and what the search keeps.
        """
        self._tell_index()
        return {"width": self.width, "actions": [self._tree_of(action) for action in range(self.n_actions)]}

    def _tree_of(self, action: int) -> dict[str, Any]:
        count = self._index.counts[action]
        return {
            "keys": self.keys[action, :count].clone(),
            "values": self.values[action, :count].clone(),
            "ids": self._index.ids(action),
            "order": self._index.order(action),
            "search": None if self._approximate is None else self._approximate.tree(action),
        }

    @torch.no_grad()
    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from :meth:`tree`, of a dictionary that may have had another capacity.

        :raises ValueError: another number of actions, another width, more entries than fit, or damage; nothing is
            changed then
        """
        if tree["width"] != self.width or len(tree["actions"]) != self.n_actions:
            has = f"{len(tree['actions'])} actions and width {tree['width']}"
            raise ValueError(f"tree must have {self.n_actions} actions and width {self.width}, not {has}")
        for part in tree["actions"]:
            check(part["ids"], part["order"], self.capacity)
            if part["keys"].shape != (len(part["ids"]), self.width) or part["values"].shape != part["ids"].shape:
                raise ValueError("tree must have as many keys and values as ids for each action")
        self._seen.clear()
        for action, part in enumerate(tree["actions"]):
            count = len(part["ids"])
            self._index.restore(action, part["ids"], part["order"])
            self.keys[action, :count] = part["keys"].to(self.keys)
            self.values[action, :count] = part["values"].to(self.values)
            self.half_norms[action, :count] = exact.half_squared_norms(self.keys[action, :count])
            if self._approximate is not None:
                self._approximate.restore(action, self.keys[action, :count], part["search"])

    # --- checks -----------------------------------------------------------------------------------------------------

    def _checked_queries(self, queries: Tensor, name: str = "queries", ids: Tensor | None = None) -> Tensor:
        if queries.dim() != 2 or queries.shape[1] != self.width:
            raise ValueError(f"{name} must be (·, {self.width}), not {tuple(queries.shape)}")
        if ids is not None and ids.shape != queries.shape[:1]:
            raise ValueError(f"ids must be ({len(queries)},), not {tuple(ids.shape)}")
        return queries.to(self.keys)

    def _checked_actions(self, actions: Tensor, count: int) -> np.ndarray:
        chosen = _host(actions, np.int64)
        if chosen.shape != (count,) or (count and not 0 <= chosen.min() <= chosen.max() < self.n_actions):
            raise ValueError(f"actions must be ({count},), each in 0 to {self.n_actions - 1}, not {actions.tolist()}")
        return chosen


def _host(tensor: Tensor, dtype: Any) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=dtype)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value
