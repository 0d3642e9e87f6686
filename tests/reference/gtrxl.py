"""Parisotto et al. 2019, with the attention of Dai et al. 2019."""

import math

import numpy as np

from tests.reference.basics import layer_norm, matvec, sigmoid, softmax


def age_encoding(age, width):
    """Half sines, half cosines (the one cosine too many of an odd width does not exist)."""
    frequencies = [1 / 10_000 ** (k / width) for k in range(0, width, 2)]
    encoding = [math.sin(age * f) for f in frequencies] + [math.cos(age * f) for f in frequencies]
    return np.array(encoding[:width])


def relu(vector):
    return np.array([max(0.0, x) for x in vector])


def relative_attention(weights, query_row, rows, ages, heads):
    """Return what the step of ``query_row`` finds in ``rows`` of these ``ages``: equation (d) of Dai et al."""
    width = len(query_row)
    size = width // heads
    q = matvec(weights["W_q"], query_row)
    keys = [matvec(weights["W_kE"], row) for row in rows]
    values = [matvec(weights["W_v"], row) for row in rows]
    encodings = [matvec(weights["W_kR"], age_encoding(age, width)) for age in ages]
    found, shares = [], []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        u, v = weights["u"][head], weights["v"][head]
        scores = []
        for key, r in zip(keys, encodings, strict=True):
            score = 0.0
            for q_i, k_i, r_i, u_i, v_i in zip(q[part], key[part], r[part], u, v, strict=True):
                score += q_i * k_i + q_i * r_i + u_i * k_i + v_i * r_i
            scores.append(score / math.sqrt(size))
        shares.append(softmax(scores))
        found.extend(sum(p * value[part] for p, value in zip(shares[-1], values, strict=True)))
    return matvec(weights["W_o"], np.array(found)), shares


def feed_forward(weights, x):
    hidden = relu(matvec(weights["W_1"], x) + weights["b_1"])
    return matvec(weights["W_2"], hidden) + weights["b_2"]


def gru_gate(weights, x, y):
    """g(x, y) of the paper's section 3.2, number by number."""
    of_y = {name: matvec(weights[f"W_{name}"], y) for name in "rzg"}
    of_x = {name: matvec(weights[f"U_{name}"], x) for name in "rz"}
    r = np.array([sigmoid(of_y["r"][i] + of_x["r"][i]) for i in range(len(x))])
    z = np.array([sigmoid(of_y["z"][i] + of_x["z"][i] - weights["b_g"][i]) for i in range(len(x))])
    of_reset = matvec(weights["U_g"], r * x)
    h = np.array([math.tanh(of_y["g"][i] + of_reset[i]) for i in range(len(x))])
    return np.array([(1 - z[i]) * x[i] + z[i] * h[i] for i in range(len(x))])


def gtrxl_step(weights, x, pasts, length, heads):
    """One step; ``pasts`` has for each layer the list of its inputs so far, the latest last.

    Returns the stream's end, the new pasts, and for each layer and head the weights over what was seen, oldest first.
    """
    stream = matvec(weights["W_x"], x) + weights["b_x"]
    new_pasts, all_shares = [], []
    for layer, past in zip(weights["layers"], pasts, strict=True):
        rows = [*past, stream][-(length + 1) :]
        new_pasts.append(rows[-length:])
        normed = [layer_norm(row, *layer["attention_norm"]) for row in rows]
        ages = range(len(rows) - 1, -1, -1)
        found, shares = relative_attention(layer["attention"], normed[-1], normed, ages, heads)
        stream = gru_gate(layer["attention_gate"], stream, relu(found))
        made = feed_forward(layer["mlp"], layer_norm(stream, *layer["mlp_norm"]))
        stream = gru_gate(layer["mlp_gate"], stream, relu(made))
        all_shares.append(shares)
    return stream, new_pasts, all_shares
