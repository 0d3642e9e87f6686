"""Voelker et al. 2019."""

import math

import numpy as np
from scipy.signal import cont2discrete


def discretised(order, theta):
    """Ā and B̄."""
    system, injection = np.zeros((order, order)), np.zeros((order, 1))
    for i in range(order):
        injection[i] = (2 * i + 1) / theta * (-1) ** i
        for j in range(order):
            system[i, j] = (2 * i + 1) / theta * (-1 if i < j else (-1) ** (i - j + 1))
    held = cont2discrete((system, injection, np.eye(order), np.zeros((order, 1))), dt=1, method="zoh")
    return held[0], held[1][:, 0]


def lmu_step(weights, x, memory, hidden, feedback=True):
    """One step: m (S, d) and h. ``weights``: A, B, E_x, E_h, E_m, W_x, W_h and W_m, and the biases of u and h."""
    signals = weights["E_x"] @ x + weights["b_u"]
    if feedback:
        signals = signals + weights["E_h"] @ hidden + weights["E_m"] @ np.concatenate(memory)
    memory = [weights["A"] @ m + weights["B"] * u for m, u in zip(memory, signals, strict=True)]
    total = weights["W_x"] @ x + weights["W_m"] @ np.concatenate(memory) + weights["b_h"]
    if feedback:
        return memory, np.array([math.tanh(number) for number in total + weights["W_h"] @ hidden])
    return memory, np.array([max(number, 0.0) for number in total])
