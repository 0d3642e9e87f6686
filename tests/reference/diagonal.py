"""Orvieto et al. 2023, and Smith et al. 2023 with the resets of Lu et al. 2023: one number after another."""

import cmath
import math

import numpy as np

from tests.reference.basics import layer_norm, sigmoid


def lru_step(weights, u, state):
    """x_t and y_t. ``weights``: ν, θ and log γ, complex B (N, H) and C (H, N), D (H,)."""
    new = []
    for n, before in enumerate(state):
        eigenvalue = cmath.exp(-math.exp(weights["nu"][n]) + 1j * math.exp(weights["theta"][n]))
        into = sum(b * x for b, x in zip(weights["B"][n], u, strict=True))
        new.append(eigenvalue * before + math.exp(weights["gamma_log"][n]) * into)
    spoken = [sum(c * x for c, x in zip(row, new, strict=True)).real for row in weights["C"]]
    return new, np.array(spoken) + weights["D"] * u


def s5_step(weights, u, state):
    """The same with λ and Δ, (N,), of both numbers of each conjugate pair, first one of all, then the other."""
    new, pairs = [], len(weights["lambda"])
    for n, before in enumerate(state):
        rate, interval = weights["lambda"][n % pairs], weights["Delta"][n % pairs]
        row = weights["B"][n % pairs]
        if n >= pairs:
            rate, row = rate.conjugate(), row.conj()
        decay = cmath.exp(rate * interval)
        into = sum(b * x for b, x in zip(row, u, strict=True))
        new.append(decay * before + (decay - 1) / rate * into)
    both = np.concatenate([weights["C"], weights["C"].conj()], axis=1)
    spoken = both @ np.array(new)
    assert np.abs(spoken.imag).max() < 1e-9
    return new, spoken.real + weights["D"] * u


def block(weights, recurrence, x, state):
    """What surrounds it: x + GLU(GELU(y)) of a LayerNorm of x, if there is one."""
    u = layer_norm(x, *weights["norm"]) if weights["norm"] else x
    state, y = recurrence(weights, u, state)
    erf = np.array([number * (1 + math.erf(number / math.sqrt(2))) / 2 for number in y])
    values = weights["gates"][0] @ erf + weights["gates"][1]
    half = len(x)
    return state, x + np.array([values[n] * sigmoid(values[half + n]) for n in range(half)])
