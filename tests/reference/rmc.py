"""Santoro et al. 2018."""

import math

import numpy as np

from tests.reference.basics import attention, layer_norm, matvec, sigmoid


def rmc_initial(slots, width):
    memory = np.zeros((slots, width))
    for n in range(min(slots, width)):
        memory[n, n] = 1
    return memory


def rmc_attend(block, mlp, rows, heads, key_size):
    """One block on all rows: attention, residual, norm; perceptron, residual, norm."""
    value_size = rows.shape[1] // heads
    size = 2 * key_size + value_size
    qkv = [layer_norm(matvec(block["W"], row) + block["b"], *block["qkv_norm"]) for row in rows]
    attended = [[] for _ in rows]
    for head in range(heads):
        parts = [row[head * size : (head + 1) * size] for row in qkv]
        queries = [part[:key_size] for part in parts]
        keys = [part[key_size : 2 * key_size] for part in parts]
        values = [part[2 * key_size :] for part in parts]
        for collected, found in zip(attended, attention(queries, keys, values)[0], strict=True):
            collected.extend(found)
    new = []
    for row, update in zip(rows, attended, strict=True):
        row = layer_norm(row + np.array(update), *block["attention_norm"])
        result = row
        for number, (matrix, bias) in enumerate(mlp):
            result = matvec(matrix, result) + bias
            if number < len(mlp) - 1:
                result = np.array([max(0.0, u) for u in result])
        new.append(layer_norm(row + result, *block["mlp_norm"]))
    return np.array(new)


def rmc_step(weights, x, memory, heads, key_size, gate_style, forget_bias=1.0, input_bias=0.0):
    """One step of one Relational Memory Core; the output is the flattened memory."""
    slots, width = memory.shape
    row = matvec(weights["W_x"], x) + weights["b_x"]
    rows = np.array([*memory, row])
    for block in weights["blocks"]:
        rows = rmc_attend(block, weights["mlp"], rows, heads, key_size)
    if gate_style is None:
        return rows[:slots]
    size = {"unit": width, "memory": 1}[gate_style]
    from_input = matvec(weights["gate_W_x"], row) + weights["gate_b_x"]
    new = np.zeros(memory.shape)
    for n in range(slots):
        gates = from_input + matvec(weights["gate_W_m"], np.tanh(memory[n]))
        for w in range(width):
            k = w if gate_style == "unit" else 0
            input_gate = sigmoid(gates[k] + input_bias)
            forget_gate = sigmoid(gates[size + k] + forget_bias)
            new[n, w] = input_gate * math.tanh(rows[n, w]) + forget_gate * memory[n, w]
    return new
