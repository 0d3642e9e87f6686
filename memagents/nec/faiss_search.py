"""Approximate nearest neighbours by FAISS (Douze et al. 2024, arXiv 2401.08281), for keys that never move.

An inverted file: k-means centroids divide the space, each key is in the list of its centroid, and a query looks at the
lists of the centroids nearest to it. Keys are entered and removed one by one. The centroids are found anew when three
times as many keys were written as there were then. As long as there are few keys the search is the exact one.

It takes keys on the CPU, and keeps a copy of them; what it saves is time for few queries at once.

Letters in shapes: A actions, C capacity, N keys, W width of a key, B queries, P neighbours, L lists.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memagents.nec import search as exact

_LEAST = 20_000  # keys of an action, below which the exact search is as fast
_VISITED = 64  # lists, by each query
_STALE = 3  # writes for each key there was, after which the centroids are found anew
_SAMPLE, _ITERATIONS = 40, 10  # of k-means: keys for each centroid, rounds


class FaissSearch:
    """For each action an index whose ids are rows.

    :param n_actions: A
    :param width: W
    :raises ValueError: FAISS is not installed
    """

    def __init__(self, n_actions: int, width: int):
        try:
            self._faiss = importlib.import_module("faiss")
        except ImportError:
            raise ValueError('search="faiss" needs a package that is not installed: pip install faiss-cpu') from None
        self.width = width
        self._indexes: list[Any] = [None] * n_actions
        self._writes = [0] * n_actions  # since the centroids were found
        self._due = [_LEAST] * n_actions  # after so many they are found anew

    def nearest(
        self, action: int, keys: Tensor, half_norms: Tensor, queries: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        """Search as :func:`memagents.nec.search.nearest` does, but some of the nearest may be missed.

        Where fewer than P are found the distance is infinite and the row −1.
        """
        index = self._indexes[action]
        if index is None:
            return exact.nearest(keys, half_norms, queries, count)
        distances, rows = index.search(queries.detach().cpu().numpy(), min(count, len(keys)))
        distances[rows < 0] = np.inf
        return torch.from_numpy(distances).to(queries.device), torch.from_numpy(rows).to(queries.device)

    def wrote(self, actions: np.ndarray, rows: np.ndarray, keys: Tensor, counts: np.ndarray) -> None:
        """Rows have new keys.

        :param actions: int64 (N,)
        :param rows: int64 (N,), each named once
        :param keys: of all rows, (A, C, W)
        :param counts: rows in use, (A,)
        """
        for action in np.unique(actions):
            of_action = rows[actions == action]
            everything = keys[action, : counts[action]]
            self._writes[action] += len(of_action)
            index = self._indexes[action]
            if self._writes[action] >= self._due[action] and len(everything) >= _LEAST:
                self._indexes[action] = self._filled(everything, self._centroids(everything))
                self._writes[action], self._due[action] = 0, _STALE * len(everything)
            elif index is not None:
                index.remove_ids(of_action)
                changed = everything[torch.from_numpy(of_action).to(keys.device)]
                index.add_with_ids(changed.cpu().numpy(), of_action)

    def _centroids(self, keys: Tensor) -> np.ndarray:
        """(N, W) to (L, W), the same for the same keys."""
        lists = 2 * int(len(keys) ** 0.5)
        kmeans = self._faiss.Kmeans(self.width, lists, niter=_ITERATIONS, max_points_per_centroid=_SAMPLE, seed=0)
        kmeans.train(keys.cpu().numpy())
        return kmeans.centroids

    def _filled(self, keys: Tensor, centroids: np.ndarray) -> Any:
        quantizer = self._faiss.IndexFlatL2(self.width)
        quantizer.add(centroids)
        index = self._faiss.IndexIVFFlat(quantizer, self.width, len(centroids))
        index.nprobe = _VISITED
        index.set_direct_map_type(self._faiss.DirectMap.Hashtable)  # without it a removal looks at every list
        index.add_with_ids(keys.cpu().numpy(), np.arange(len(keys)))
        return index

    def tree(self, action: int) -> dict[str, Any]:
        """Return what a restored index needs beside the keys."""
        index = self._indexes[action]
        centroids = None if index is None else index.quantizer.reconstruct_n(0, index.nlist)
        return {"centroids": centroids, "writes": self._writes[action], "due": self._due[action]}

    def restore(self, action: int, keys: Tensor, tree: dict[str, Any] | None) -> None:
        """Go on from :meth:`tree`, or from nothing but the keys, (N, W)."""
        tree = tree or {"centroids": None, "writes": len(keys), "due": _LEAST}
        centroids = tree["centroids"]
        self._indexes[action] = None if centroids is None else self._filled(keys, centroids)
        self._writes[action], self._due[action] = tree["writes"], tree["due"]
