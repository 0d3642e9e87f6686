"""Gated DeltaNet and its kin (Yang et al. 2024), Mamba-2 (Dao & Gu 2024) and the mLSTM (Beck et al. 2024): one step.

Each block takes u = LN(x), its memories, one a head, and the convolution's last inputs, the oldest first; it gives what
it adds to x. ``weights`` has matrices by name, with a row for each output.
"""

import math

import numpy as np

from tests.reference.basics import layer_norm, sigmoid


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return math.log1p(math.exp(x))


def convolve(taps, bias, inputs):
    """SiLU of a sum over the last four inputs (4, X), for which zeros stand in where the episode is younger."""
    assert taps.shape == np.shape(inputs)
    sums = [sum(taps[j, c] * inputs[j][c] for j in range(4)) for c in range(taps.shape[1])]
    return np.array([silu(s + b) for s, b in zip(sums, bias, strict=True)])


def rms_norm(vector, scale, epsilon=1e-5):
    size = math.sqrt(sum(x * x for x in vector) / len(vector) + epsilon)
    return np.array([s * x / size for s, x in zip(scale, vector, strict=True)])


def unit(vector):
    return vector / math.sqrt(sum(x * x for x in vector) + 1e-6)


def delta_step(weights, u, memories, recent, writes=1, strength=1.0):
    """S ← Diag(α) S; S ← (I - k eᵀ) S + k vᵀ for each write. ``weights["w"]`` makes it Gated DeltaNet-2."""
    mixed = weights["qkv"] @ u
    convolved = convolve(weights["taps"], np.zeros(len(mixed)), [*recent, mixed])
    heads, (keys, values) = len(memories), memories[0].shape
    q, k, v = np.split(convolved, [heads * keys, heads * keys * (1 + writes)])
    q, k, v = q.reshape(heads, keys), k.reshape(heads, writes, keys), v.reshape(heads, writes, values)
    erase = np.array([strength * sigmoid(x) for x in weights["b"] @ u]).reshape(heads, writes, -1)
    write = erase
    if "w" in weights:
        write = np.array([sigmoid(x) for x in weights["w"] @ u]).reshape(heads, writes, -1)
    new: list = []
    spoken: list = []
    for h, memory in enumerate(memories):
        if "a" in weights:
            gate = (weights["a"] @ u).reshape(heads, -1)[h]
            rate = math.exp(weights["A_log"][h])
            alpha = [math.exp(-rate * softplus(x + b)) for x, b in zip(gate, weights["dt_bias"][h], strict=True)]
            memory = np.diag(np.broadcast_to(alpha, keys)) @ memory
        for n in range(writes):
            key = unit(k[h, n])
            memory = (np.eye(keys) - np.outer(key, erase[h, n] * key)) @ memory + np.outer(key, write[h, n] * v[h, n])
        new.append(memory)
        spoken.append(rms_norm(memory.T @ unit(q[h]) / math.sqrt(keys), weights["scale"]))
    gate = np.ones(heads * values)
    if "g" in weights:
        gate = np.array([(sigmoid if "w" in weights else silu)(x) for x in weights["g"] @ u])
    return weights["o"] @ (np.concatenate(spoken) * gate), new, [*recent[1:], mixed]


def mamba2_step(weights, u, memories, recent, groups=1):
    """h ← exp(-A dt) h + dt B xᵀ, y = hᵀ C + D x."""
    heads, (states, size) = len(memories), memories[0].shape
    z, mixed, dt = np.split(weights["in"] @ u, [heads * size, 2 * heads * size + 2 * groups * states])
    convolved = convolve(weights["taps"], weights["taps_bias"], [*recent, mixed])
    x, b, c = np.split(convolved, [heads * size, heads * size + groups * states])
    new, spoken = [], []
    for h, memory in enumerate(memories):
        group = h * groups // heads
        own = slice(group * states, (group + 1) * states)
        interval, part = softplus(dt[h] + weights["dt_bias"][h]), x[h * size : (h + 1) * size]
        decay = math.exp(-math.exp(weights["A_log"][h]) * interval)
        new.append(decay * memory + interval * np.outer(b[own], part))
        spoken.append(new[-1].T @ c[own] + weights["D"][h] * part)
    gated = np.concatenate(spoken) * np.array([silu(x) for x in z])
    return weights["o"] @ rms_norm(gated, weights["scale"]), new, [*recent[1:], mixed]


def mlstm_step(weights, u, memories, recent):
    """``memories`` are C, n and m of each head."""
    x, z = np.split(weights["up"] @ u, 2)
    convolved = convolve(weights["taps"], weights["taps_bias"], [*recent, x])
    q, k, v = weights["q"] @ convolved, weights["k"] @ convolved, weights["v"] @ x
    gates = weights["gates"][0] @ np.concatenate([q, k, v]) + weights["gates"][1]
    heads, size = len(memories), len(memories[0][1])
    new, spoken = [], []
    for h, (memory, counted, stabiliser) in enumerate(memories):
        own = slice(h * size, (h + 1) * size)
        log_forget, log_input = -math.log1p(math.exp(-gates[heads + h])), gates[h]
        after = max(log_forget + stabiliser, log_input)
        forget, into = math.exp(log_forget + stabiliser - after), math.exp(log_input - after)
        key = k[own] / math.sqrt(size)
        memory = forget * memory + into * np.outer(key, v[own])
        counted = forget * counted + into * key
        hidden = memory.T @ q[own] / (max(abs(counted @ q[own]), math.exp(-after)) + 1e-6)
        new.append((memory, counted, after))
        spoken.append(layer_norm(hidden, weights["scale"][own], np.zeros(size)))
    y = (np.concatenate(spoken) + weights["skip"] * convolved) * np.array([silu(number) for number in z])
    return weights["down"] @ y, new, [*recent[1:], x]
