"""Functions that many papers share.

``EPSILON`` is the one thing that the papers leave open: what keeps a zero vector's cosine away from zero. With
``epsilon=0`` each function is the bare equation.
"""

import math

import numpy as np

EPSILON = 1e-6


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def oneplus(x):
    return 1 + math.log(1 + math.exp(x))


def softmax(xs):
    exponentials = [math.exp(x - max(xs)) for x in xs]
    return np.array([e / sum(exponentials) for e in exponentials])


def matvec(matrix, vector):
    """Also checks that no shape was broadcast by accident."""
    assert matrix.shape[1] == len(vector)
    return np.array([sum(matrix[i, j] * vector[j] for j in range(len(vector))) for i in range(matrix.shape[0])])


def cosine(u, v, epsilon=EPSILON):
    dot = sum(a * b for a, b in zip(u, v, strict=True))
    norm_u = math.sqrt(sum(a * a for a in u) + epsilon)
    norm_v = math.sqrt(sum(b * b for b in v) + epsilon)
    return dot / (norm_u * norm_v + epsilon)


def layer_norm(vector, scale, shift, epsilon=1e-5):
    mean = sum(vector) / len(vector)
    variance = sum((x - mean) ** 2 for x in vector) / len(vector)
    normalised = [(x - mean) / math.sqrt(variance + epsilon) for x in vector]
    return np.array([s * x + b for s, x, b in zip(scale, normalised, shift, strict=True)])


def lstm_cell(gates, cell):
    """i, f, g, o stacked as torch does."""
    size = len(cell)
    new = np.zeros(size)
    hidden = np.zeros(size)
    for k in range(size):
        i, f, g, o = (gates[part * size + k] for part in range(4))
        new[k] = sigmoid(f) * cell[k] + sigmoid(i) * math.tanh(g)
        hidden[k] = sigmoid(o) * math.tanh(new[k])
    return hidden, new


def attention(queries, keys, values):
    """softmax(q k^T / √K) v, query by query"""
    found, weights = [], []
    for q in queries:
        scores = [sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(len(q)) for k in keys]
        weights.append(softmax(scores))
        found.append(sum(w * v for w, v in zip(weights[-1], values, strict=True)))
    return np.array(found), np.array(weights)


def content_weighting(memory, key, strength, epsilon=EPSILON):
    """C(M, k, β)[i] = exp(D(k, M[i, ·]) β) / Σ_j exp(D(k, M[j, ·]) β)"""
    return softmax([cosine(key, row, epsilon) * strength for row in memory])


def read(memory, weights):
    """r = M^T w"""
    return matvec(memory.T, weights)


def write(memory, weights, erase, vector):
    """M_t = M_{t-1} ∘ (E − w e^T) + w v^T"""
    new = np.zeros(memory.shape)
    for n in range(memory.shape[0]):
        for w in range(memory.shape[1]):
            new[n, w] = memory[n, w] * (1 - weights[n] * erase[w]) + weights[n] * vector[w]
    return new
