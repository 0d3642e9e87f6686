"""Santoro et al. 2016, section 3.2."""

import numpy as np

from tests.reference.basics import content_weighting, lstm_cell, matvec, oneplus, read, sigmoid


def least_used(usage, n):
    """The n slots of least usage, least first; of equal ones the first."""
    return sorted(range(len(usage)), key=lambda i: (usage[i], i))[:n]


def mann_initial(slots, width, heads, units):
    return {
        "memory": np.zeros((slots, width)),
        "usage": np.zeros(slots),
        "read_weights": np.zeros((heads, slots)),
        "read_vectors": np.zeros((heads, width)),
        "hidden": np.zeros(units),
        "cell": np.zeros(units),
    }


def mann_step(weights, x, state, *, decay, key_strengths):
    """One time step.

    ``weights``: W_x, b_x (the LSTM from the input), W_r (from [h; r¹ … r^R]), W_ξ, b_ξ (keys, gates, strengths of the
    heads), W_y, b_y (from [h; r]).
    """
    heads, slots = state["read_weights"].shape
    width = state["memory"].shape[1]
    past = np.concatenate([state["hidden"], *state["read_vectors"]])
    gates = matvec(weights["W_x"], x) + weights["b_x"] + matvec(weights["W_r"], past)
    hidden, cell = lstm_cell(gates, state["cell"])
    interface = matvec(weights["W_ξ"], hidden) + weights["b_ξ"]
    keys = [np.tanh(interface[head * width : (head + 1) * width]) for head in range(heads)]
    alphas = interface[heads * width : heads * width + heads]

    least = least_used(state["usage"], heads)
    memory = state["memory"].copy()
    for slot in least:
        memory[slot] = 0.0
    writing = np.zeros((heads, slots))
    for head in range(heads):
        alpha = sigmoid(alphas[head])
        for i in range(slots):
            w_lu = 1.0 if i == least[head] else 0.0
            writing[head, i] = alpha * state["read_weights"][head, i] + (1 - alpha) * w_lu
            memory[i] = memory[i] + writing[head, i] * keys[head]
    reading = np.zeros((heads, slots))
    for head in range(heads):
        strength = oneplus(interface[heads * width + heads + head]) if key_strengths else 1.0
        reading[head] = content_weighting(memory, keys[head], strength)
    new = {
        "memory": memory,
        "usage": decay * state["usage"] + sum(reading) + sum(writing),
        "read_weights": reading,
        "read_vectors": np.array([read(memory, w) for w in reading]),
        "hidden": hidden,
        "cell": cell,
    }
    output = matvec(weights["W_y"], np.concatenate([hidden, *new["read_vectors"]])) + weights["b_y"]
    return output, new
