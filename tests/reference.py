"""The papers' equations once more: one example, NumPy numbers, nothing but loops. Slow, and meant to be obvious.

``EPSILON`` is the one thing that the papers leave open: what keeps a zero vector's cosine, and the usage in the
allocation, away from zero. With ``epsilon=0`` each function is the bare equation.
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


# --- Graves et al. 2016, Methods ------------------------------------------------------------------------------------


def content_weighting(memory, key, strength, epsilon=EPSILON):
    """C(M, k, β)[i] = exp(D(k, M[i, ·]) β) / Σ_j exp(D(k, M[j, ·]) β)"""
    return softmax([cosine(key, row, epsilon) * strength for row in memory])


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


def write(memory, weights, erase, vector):
    """M_t = M_{t-1} ∘ (E − w e^T) + w v^T"""
    new = np.zeros(memory.shape)
    for n in range(memory.shape[0]):
        for w in range(memory.shape[1]):
            new[n, w] = memory[n, w] * (1 - weights[n] * erase[w]) + weights[n] * vector[w]
    return new


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


def read(memory, weights):
    """r = M^T w"""
    return matvec(memory.T, weights)


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


def dnc_step(weights, x, state):
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
    assert not xi

    used = usage(state["usage"], state["write_weights"], state["read_weights"], free_gates)
    content = content_weighting(state["memory"], write_key, write_strength)
    written = write_weighting(content, allocation(used), allocation_gate, write_gate)
    memory = write(state["memory"], written, erase, vector)
    links = link(state["link"], state["precedence"], written)
    reads = []
    for head in range(heads):
        before = state["read_weights"][head]
        found = content_weighting(memory, read_keys[head], read_strengths[head])
        reads.append(read_weighting(backward(links, before), found, forward(links, before), modes[head]))
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


# --- Vaswani et al. 2017; Santoro et al. 2018 -----------------------------------------------------------------------


def attention(queries, keys, values):
    """softmax(q k^T / √K) v, query by query"""
    found, weights = [], []
    for q in queries:
        scores = [sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(len(q)) for k in keys]
        weights.append(softmax(scores))
        found.append(sum(w * v for w, v in zip(weights[-1], values, strict=True)))
    return np.array(found), np.array(weights)


def layer_norm(vector, scale, shift, epsilon=1e-5):
    mean = sum(vector) / len(vector)
    variance = sum((x - mean) ** 2 for x in vector) / len(vector)
    normalised = [(x - mean) / math.sqrt(variance + epsilon) for x in vector]
    return np.array([s * x + b for s, x, b in zip(scale, normalised, shift, strict=True)])


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
        update = row
        for number, (matrix, bias) in enumerate(mlp):
            update = matvec(matrix, update) + bias
            if number < len(mlp) - 1:
                update = np.array([max(0.0, u) for u in update])
        new.append(layer_norm(row + update, *block["mlp_norm"]))
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
