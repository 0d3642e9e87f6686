"""Lampinen et al. 2021: the memory of the published program, in plain loops."""

import math

import numpy as np

from tests.reference.basics import layer_norm, matvec, softmax
from tests.reference.gtrxl import age_encoding, relative_attention


def within(weights, query, rows, heads):
    """Multi-head attention of one query to the rows of one chunk, newest last, positions counted from there."""
    size = len(query) // heads
    placed = [row + age_encoding(len(rows) - 1 - i, len(row)) for i, row in enumerate(rows)]
    q = matvec(weights["W_mq"], query)
    keys, values = ([matvec(weights[name], row) for row in placed] for name in ("W_mk", "W_mv"))
    found = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        shares = softmax([sum(a * b for a, b in zip(q[part], k[part], strict=True)) / math.sqrt(size) for k in keys])
        found.extend(sum(p * v[part] for p, v in zip(shares, values, strict=True)))
    return matvec(weights["W_mo"], np.array(found))


def remember(weights, query, chunks, heads, top_k):
    """What the memory gives, and the weights of all chunks."""
    if not chunks:
        return np.zeros(len(query)), []
    q = matvec(weights["W_q"], query)
    keys = [matvec(weights["W_k"], sum(chunk) / len(chunk)) for chunk in chunks]
    scores = [sum(a * b for a, b in zip(q, key, strict=True)) / math.sqrt(len(query)) for key in keys]
    best = sorted(range(len(chunks)), key=lambda j: -scores[j])[:top_k]
    shares = softmax([scores[j] for j in best])
    found = sum(w * within(weights, query, chunks[j], heads) for w, j in zip(shares, best, strict=True))
    return found, [float(shares[best.index(j)]) if j in best else 0.0 for j in range(len(chunks))]


def hcam_step(weights, stored, x, *, chunks, chunk_size, top_k, heads):
    """One step; ``stored`` is the list of the episode's embedded inputs before it."""
    e = matvec(weights["W_e"], x) + weights["b_e"]
    complete = [stored[i : i + chunk_size] for i in range(0, len(stored) - chunk_size + 1, chunk_size)][-chunks:]
    stored = [*stored, e]
    recent = stored[-chunk_size:]
    normed = [layer_norm(row, *weights["recent_norm"]) for row in recent]
    ages = list(range(len(recent) - 1, -1, -1))
    stream = e + relative_attention(weights["recent"], normed[-1], normed, ages, heads)[0]
    found, shares = remember(weights, layer_norm(stream, *weights["memory_norm"]), complete, heads, top_k)
    stream = stream + found
    normed = layer_norm(stream, *weights["feedforward_norm"])
    hidden = np.maximum(matvec(weights["W_1"], normed) + weights["b_1"], 0)
    return stream + matvec(weights["W_2"], hidden) + weights["b_2"], stored, shares
