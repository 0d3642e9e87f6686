"""Ritter et al. 2020, as others tell it: the same block again and again over all rows, and their maximum."""

from itertools import pairwise

import numpy as np

from tests.reference.basics import attention, layer_norm, matvec


def block(weights, rows, heads):
    """z ← z + Attention(LN(z)), z ← z + MLP(LN(z))"""
    normed = [layer_norm(row, *weights["attention_norm"]) for row in rows]
    made = np.array([matvec(weights["W_qkv"], row) for row in normed])
    queries, keys, values = np.split(made, 3, axis=1)
    size = len(rows[0]) // heads
    parts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    looks = [attention(queries[:, part], keys[:, part], values[:, part]) for part in parts]
    found = np.concatenate([found for found, _ in looks], axis=1)
    rows = [row + matvec(weights["W_o"], f) for row, f in zip(rows, found, strict=True)]
    new = []
    for row in rows:
        hidden = np.maximum(matvec(weights["W_1"], layer_norm(row, *weights["feedforward_norm"])) + weights["b_1"], 0)
        new.append(row + matvec(weights["W_2"], hidden) + weights["b_2"])
    return new, np.array([shares for _, shares in looks])


def epn_step(weights, stored, x, *, length, heads, iterations):
    """One step; ``stored`` is the list of the episode's inputs before it.

    ``weights``: A, B, b_B (transitions), C, b_C, D, b_D (the present), those of the block, and W_3, b_3, W_4, b_4 of
    the output, from [LN(max); x].
    """
    stored = [*stored, x]
    asked, rows = matvec(weights["C"], x) + weights["b_C"], []
    for before, after in list(pairwise(stored))[-length:]:
        a, b = matvec(weights["A"], before) + weights["b_A"], matvec(weights["B"], after) + weights["b_B"]
        rows.append(a + b + asked)
    rows.append(matvec(weights["D"], x) + weights["b_D"] + asked)
    shares = []
    for _ in range(iterations):
        rows, of_iteration = block(weights, rows, heads)
        shares.append(of_iteration)
    highest = np.array([max(row[k] for row in rows) for k in range(len(rows[0]))])
    highest = layer_norm(highest, *weights["last_norm"])
    hidden = np.maximum(matvec(weights["W_3"], np.concatenate([highest, x])) + weights["b_3"], 0)
    return matvec(weights["W_4"], hidden) + weights["b_4"], stored, shares
