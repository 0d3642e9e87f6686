"""Graves et al. 2016, Methods. ``EPSILON`` also keeps the usage in the allocation away from zero."""

import numpy as np

from tests.reference.basics import EPSILON, content_weighting, lstm_cell, matvec, oneplus, read, sigmoid, softmax, write


def usage(previous, write_weights, read_weights, free_gates):
    """ψ = Π_i (1 − f^i w^{r,i}_{t-1}), u_t = (u_{t-1} + w^w_{t-1} − u_{t-1} ∘ w^w_{t-1}) ∘ ψ"""
    new = np.zeros(len(previous))
    for n in range(len(previous)):
        retention = 1.0
        for head in range(len(free_gates)):
            retention *= 1 - free_gates[head] * read_weights[head][n]
        new[n] = (previous[n] + write_weights[n] - previous[n] * write_weights[n]) * retention
    return new


def allocation(used, epsilon=EPSILON):
    """φ sorts the slots by usage, ascending; a[φ[j]] = (1 − u[φ[j]]) Π_{i<j} u[φ[i]]"""
    used = [epsilon + (1 - epsilon) * u for u in used]
    free_list = sorted(range(len(used)), key=lambda n: used[n])
    weights = np.zeros(len(used))
    for j, slot in enumerate(free_list):
        product = 1.0
        for i in range(j):
            product *= used[free_list[i]]
        weights[slot] = (1 - used[slot]) * product
    return weights


def write_weighting(content, allocated, allocation_gate, write_gate):
    """w^w = g^w [g^a a + (1 − g^a) c^w]"""
    return np.array(
        [
            write_gate * (allocation_gate * a + (1 - allocation_gate) * c)
            for a, c in zip(allocated, content, strict=True)
        ]
    )


def link(previous, precedence, weights):
    """L_t[i, j] = (1 − w[i] − w[j]) L_{t-1}[i, j] + w[i] p_{t-1}[j], L_t[i, i] = 0"""
    new = np.zeros(previous.shape)
    for i in range(len(weights)):
        for j in range(len(weights)):
            if i != j:
                new[i, j] = (1 - weights[i] - weights[j]) * previous[i, j] + weights[i] * precedence[j]
    return new


def precedence(previous, weights):
    """p_t = (1 − Σ_i w[i]) p_{t-1} + w"""
    return np.array([(1 - sum(weights)) * p + w for p, w in zip(previous, weights, strict=True)])


def forward(links, read_weights):
    """f = L w"""
    return matvec(links, read_weights)


def backward(links, read_weights):
    """b = L^T w"""
    return matvec(links.T, read_weights)


def read_weighting(back, content, fore, modes):
    """w^r = π[1] b + π[2] c^r + π[3] f"""
    return np.array([modes[0] * b + modes[1] * c + modes[2] * f for b, c, f in zip(back, content, fore, strict=True)])


def dnc_initial(slots, width, read_heads, units):
    return {
        "memory": np.zeros((slots, width)),
        "usage": np.zeros(slots),
        "link": np.zeros((slots, slots)),
        "precedence": np.zeros(slots),
        "write_weights": np.zeros(slots),
        "read_weights": np.zeros((read_heads, slots)),
        "read_vectors": np.zeros((read_heads, width)),
        "hidden": np.zeros(units),
        "cell": np.zeros(units),
    }


def masked_content_weighting(memory, key, strength, mask):
    """Csordás and Schmidhuber 2019, equation 2: D(k ∘ m, M_i ∘ m)"""
    return content_weighting(np.array([row * mask for row in memory]), np.array(key) * mask, strength)


def wiped(memory, read_weights, free_gates):
    """Csordás and Schmidhuber 2019, equation 5: M ∘ φ 1^T, φ = Π_i (1 − f^i w^{r,i}_{t-1})"""
    new = memory.copy()
    for n in range(len(memory)):
        for head in range(len(free_gates)):
            new[n] = new[n] * (1 - free_gates[head] * read_weights[head][n])
    return new


def sharpened(weights, sharpness, epsilon=EPSILON):
    """Csordás and Schmidhuber 2019, equations 9 and 10: d^s over its sum"""
    powers = [((w + epsilon) / max(w + epsilon for w in weights)) ** sharpness for w in weights]
    return np.array([p / sum(powers) for p in powers])


def dnc_step(weights, x, state, masked_lookup=False, deallocate=False, sharpen_links=False):
    """One time step of one DNC with one write head and an LSTM controller of one layer.

    ``weights``: W_x, b_x (gates from the input), W_r (gates from [h; r¹ … r^R]), W_ξ, b_ξ, W_y, b_y (from [h; r]).
    """
    width, heads = state["memory"].shape[1], len(state["read_weights"])
    recurrent = np.concatenate([state["hidden"], *state["read_vectors"]])
    gates = matvec(weights["W_x"], x) + weights["b_x"] + matvec(weights["W_r"], recurrent)
    hidden, cell = lstm_cell(gates, state["cell"])

    xi = list(matvec(weights["W_ξ"], hidden) + weights["b_ξ"])

    def take(count):
        taken = xi[:count]
        del xi[:count]
        return taken

    read_keys = [take(width) for _ in range(heads)]
    read_strengths = [oneplus(x) for x in take(heads)]
    write_key = take(width)
    write_strength = oneplus(take(1)[0])
    erase = [sigmoid(x) for x in take(width)]
    vector = take(width)
    free_gates = [sigmoid(x) for x in take(heads)]
    allocation_gate = sigmoid(take(1)[0])
    write_gate = sigmoid(take(1)[0])
    modes = [softmax(take(3)) for _ in range(heads)]
    read_masks, write_mask = np.ones((heads, width)), np.ones(width)
    if masked_lookup:
        read_masks = np.array([[sigmoid(x) for x in take(width)] for _ in range(heads)])
        write_mask = np.array([sigmoid(x) for x in take(width)])
    sharpness = [[oneplus(x) for x in take(heads)] for _ in range(2)] if sharpen_links else None
    assert not xi

    used = usage(state["usage"], state["write_weights"], state["read_weights"], free_gates)
    content = masked_content_weighting(state["memory"], write_key, write_strength, write_mask)
    written = write_weighting(content, allocation(used), allocation_gate, write_gate)
    kept = wiped(state["memory"], state["read_weights"], free_gates) if deallocate else state["memory"]
    memory = write(kept, written, erase, vector)
    links = link(state["link"], state["precedence"], written)
    reads = []
    for head in range(heads):
        before = state["read_weights"][head]
        found = masked_content_weighting(memory, read_keys[head], read_strengths[head], read_masks[head])
        back, fore = backward(links, before), forward(links, before)
        if sharpness is not None:
            back, fore = sharpened(back, sharpness[0][head]), sharpened(fore, sharpness[1][head])
        reads.append(read_weighting(back, found, fore, modes[head]))
    vectors = [read(memory, w) for w in reads]
    output = matvec(weights["W_y"], np.concatenate([hidden, *vectors])) + weights["b_y"]
    return output, {
        "memory": memory,
        "usage": used,
        "link": links,
        "precedence": precedence(state["precedence"], written),
        "write_weights": written,
        "read_weights": np.array(reads),
        "read_vectors": np.array(vectors),
        "hidden": hidden,
        "cell": cell,
    }
