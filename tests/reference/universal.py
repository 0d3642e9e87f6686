"""Dehghani et al. 2018 with the halting of Graves 2016 and the relative positions of Dai et al. 2019."""

import math

import numpy as np

from tests.reference.basics import layer_norm, matvec, sigmoid, softmax


def code(number, width):
    """Sines, then cosines, of an age or a depth times 10000^(−2 i / W)."""
    angles = [number / 10000 ** (2 * i / width) for i in range(width // 2)]
    return np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles])


def attend(block, rows, heads):
    """Return what the last of the rows finds by looking at all of them, itself among them."""
    width = len(rows[-1])
    size = width // heads
    query = matvec(block["Q"], rows[-1])
    found = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = []
        for number, row in enumerate(rows):
            key = matvec(block["K"], row)[part]
            position = matvec(block["R"], code(len(rows) - 1 - number, width))[part]
            of_content = sum((query[part] + block["u"][head]) * key)
            of_position = sum((query[part] + block["v"][head]) * position)
            scores.append((of_content + of_position) / math.sqrt(size))
        weights = softmax(scores)
        found.extend(sum(w * matvec(block["V"], row)[part] for w, row in zip(weights, rows, strict=True)))
    return matvec(block["O"], np.array(found))


def apply_block(block, rows, heads):
    """A = LN(H + P + attention), H = LN(A + transition(A)); P is in the rows already."""
    attended = layer_norm(rows[-1] + attend(block, rows, heads), *block["norm_1"])
    hidden = matvec(block["W_1"], attended) + block["b_1"]
    update = matvec(block["W_2"], np.array([max(0.0, h) for h in hidden])) + block["b_2"]
    return layer_norm(attended + update, *block["norm_2"])


def universal_step(weights, x, past, heads, length, max_depth, threshold):
    """One step of one episode.

    ``past`` holds for each depth what the steps before this one were there, oldest first. Returns the output, the new
    past, the weights of the updates and N + R.
    """
    h = matvec(weights["E"], x) + weights["e"]
    past = [list(rows) for rows in past] or [[] for _ in range(max_depth)]
    halted, total, updates, states = False, 0.0, [], []
    for depth in range(max_depth):
        past[depth].append(h)
        if halted:
            continue
        rows = [row + code(depth + 1, len(h)) for row in past[depth][-length - 1 :]]
        h = apply_block(weights["block"], rows, heads)
        probability = sigmoid(sum(weights["halt"] * h) + weights["halt_bias"])
        if total + probability >= threshold or depth == max_depth - 1:
            halted, probability = True, 1 - total
        total += probability
        updates.append(probability)
        states.append(h)
    y = sum(p * s for p, s in zip(updates, states, strict=True))
    return y, past, updates, len(updates) + updates[-1]
