"""Feng et al. 2024."""

import numpy as np

from tests.reference.basics import sigmoid


def positive(number):
    return number + 0.5 if number >= 0 else sigmoid(number)


def mingru_step(weights, x, hidden, g):
    """One step of a layer: h unit by unit. ``weights`` are pairs of a matrix and a bias by name, g is of candidates."""
    z, candidate = (weights[name][0] @ x + weights[name][1] for name in ("z", "h"))
    gates = [sigmoid(number) for number in z]
    return np.array([(1 - gate) * h + gate * g(c) for gate, h, c in zip(gates, hidden, candidate, strict=True)])


def minlstm_step(weights, x, hidden, g):
    forget, into, candidate = (weights[name][0] @ x + weights[name][1] for name in ("f", "i", "h"))
    new = np.zeros(len(hidden))
    for n in range(len(hidden)):
        f, i = sigmoid(forget[n]), sigmoid(into[n])
        new[n] = f / (f + i) * hidden[n] + i / (f + i) * g(candidate[n])
    return new
