"""ALER after its abstract (arXiv 2610.00592), with random numbers by SplitMix64 (Steele, Lea & Flood 2014)."""

import math

import numpy as np

from tests.reference.basics import lstm_cell, matvec, sigmoid, softmax

_MASK = 2**64 - 1


def mixed(bits):
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)


def gumbel(key, count):
    begin = mixed((key * 0x9E3779B97F4A7C15) & _MASK)
    draws = [mixed((begin + (j + 1) * 0xD1B54A32D192ED03) & _MASK) >> 40 for j in range(count)]
    return [-math.log(-math.log(max(draw / 2**24, 2**-25))) for draw in draws]


def aler_initial(slots, width, units):
    return {"memory": np.zeros((slots, width)), "hidden": np.zeros(units), "cell": np.zeros(units)}


def aler_step(weights, x, state, key):
    """One time step; ``key`` of its noise, or None for none.

    ``weights``: W_x, b_x, W_h (the LSTM), W_i, b_i (query, gate, address), U, b_U (gate and candidate from what is
    read), W_v, b_v.
    """
    slots, width = state["memory"].shape
    units = len(state["hidden"])
    gates = matvec(weights["W_x"], x) + weights["b_x"] + matvec(weights["W_h"], state["hidden"])
    hidden, cell = lstm_cell(gates, state["cell"])
    interface = matvec(weights["W_i"], hidden) + weights["b_i"]
    query, of_gate, logits = np.split(interface, [width, width + units])
    reading = softmax(
        [sum(q * m for q, m in zip(query, slot, strict=True)) / math.sqrt(width) for slot in state["memory"]]
    )
    read = sum(w * slot for w, slot in zip(reading, state["memory"], strict=True))
    made = matvec(weights["U"], read) + weights["b_U"]
    fused = np.zeros(units)
    for k in range(units):
        g = sigmoid(of_gate[k] + made[k])
        fused[k] = (1 - g) * hidden[k] + g * made[units + k]
    noise = [0.0] * slots if key is None else gumbel(key, slots)
    written = max(range(slots), key=lambda n: logits[n] + noise[n])
    memory = state["memory"].copy()
    memory[written] = np.tanh(matvec(weights["W_v"], fused) + weights["b_v"])
    return fused, {"memory": memory, "hidden": hidden, "cell": cell}, written
