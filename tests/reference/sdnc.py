"""Rae et al. 2016, Supplement D.1, with links between all slots, of which rows keep the largest.

The links are followed by b = N^T r and f = P^T r.
"""

import numpy as np

from tests.reference.basics import lstm_cell, matvec, oneplus, read, sigmoid, softmax
from tests.reference.sam import DELTA, least_recently_accessed, sam_initial, sparse_content, write, write_weighting


def keep_largest(weights, count):
    """All but the ``count`` largest set to zero"""
    kept = np.zeros(len(weights))
    for n in sorted(range(len(weights)), key=lambda n: -weights[n])[:count]:
        kept[n] = weights[n]
    return kept


def update_n(links, precedence, weights, count):
    """N_t(i, j) = (1 − w(i)) N_{t-1}(i, j) + w(i) p_{t-1}(j) off the diagonal, K_L of each row"""
    new = np.zeros(links.shape)
    for i in range(len(weights)):
        for j in range(len(weights)):
            if i != j:
                new[i, j] = (1 - weights[i]) * links[i, j] + weights[i] * precedence[j]
    return np.array([keep_largest(row, count) for row in new])


def update_p(links, precedence, weights, count):
    """P_t(i, j) = (1 − w(j)) P_{t-1}(i, j) + w(j) p_{t-1}(i) off the diagonal, K_L of each row"""
    new = np.zeros(links.shape)
    for i in range(len(weights)):
        for j in range(len(weights)):
            if i != j:
                new[i, j] = (1 - weights[j]) * links[i, j] + weights[j] * precedence[i]
    return np.array([keep_largest(row, count) for row in new])


def update_precedence(precedence, weights, count):
    """p_t = (1 − Σ_i w(i)) p_{t-1} + w, K_L of it"""
    return keep_largest([(1 - sum(weights)) * p + w for p, w in zip(precedence, weights, strict=True)], count)


def backward(n_links, reads, count):
    return keep_largest(matvec(n_links.T, reads), count)


def forward(p_links, reads, count):
    followed = keep_largest(matvec(p_links.T, reads), count)
    return followed / max(1, sum(followed))


def sharpened(weights, sharpness):
    """((d + 1e-6) / max(d + 1e-6))^s over its sum, of those above 0 (1904.10278, over the links there are)"""
    largest = max(weights) + 1e-6
    raised = [((w + 1e-6) / largest) ** sharpness if w > 0 else 0.0 for w in weights]
    return np.array(raised) / max(sum(raised), 1e-300)


def sdnc_initial(slots, width, read_heads, units):
    return sam_initial(slots, width, read_heads, units) | {
        "n": np.zeros((slots, slots)),
        "p": np.zeros((slots, slots)),
        "precedence": np.zeros(slots),
    }


def sdnc_step(weights, x, state, count, links):
    """One time step. ``weights``: as of a SAM, and W_m, b_m (read modes: backward, content, forward for each head), and
    W_s, b_s if links are sharpened (sharpness: backward for each head, then forward).

    :param count: K
    :param links: K_L
    """
    width, heads = state["memory"].shape[1], len(state["read_weights"])
    slots, now = len(state["memory"]), state["clock"]
    recurrent = np.concatenate([state["hidden"], *state["read_vectors"]])
    gates = matvec(weights["W_x"], x) + weights["b_x"] + matvec(weights["W_r"], recurrent)
    hidden, cell = lstm_cell(gates, state["cell"])

    vector = matvec(weights["W_p"], hidden) + weights["b_p"]
    queries = vector[: heads * width].reshape(heads, width)
    rest = vector[heads * width :]
    strengths = [oneplus(s) for s in rest[:heads]]
    word = rest[heads : heads + width]
    alpha, gamma = (sigmoid(s) for s in rest[heads + width : heads + width + 2])
    shares = softmax(rest[heads + width + 2 :])
    logits = (matvec(weights["W_m"], hidden) + weights["b_m"]).reshape(heads, 3)

    oldest = least_recently_accessed(state["last_access"])
    previous = sum(shares[h] * state["read_weights"][h] for h in range(heads))
    written = write_weighting(previous, oldest, alpha, gamma)
    memory = write(state["memory"], written, word, oldest)
    n_links = update_n(state["n"], state["precedence"], written, links)
    p_links = update_p(state["p"], state["precedence"], written, links)

    known = [state["last_access"][n] >= 0 or written[n] > DELTA for n in range(slots)]
    reads = []
    for h in range(heads):
        modes, before = softmax(logits[h]), state["read_weights"][h]
        content = sparse_content(memory, queries[h], strengths[h], count, known)
        back, fore = backward(n_links, before, count), forward(p_links, before, count)
        if "W_s" in weights:
            sharpness = [oneplus(s) for s in matvec(weights["W_s"], hidden) + weights["b_s"]]
            back, fore = sharpened(back, sharpness[h]), sharpened(fore, sharpness[heads + h])
        reads.append(modes[0] * back + modes[1] * content + modes[2] * fore)
    vectors = [read(memory, w) for w in reads]

    last_access = list(state["last_access"])
    for n in range(slots):
        if written[n] + sum(w[n] for w in reads) > DELTA:
            last_access[n] = now
    output = matvec(weights["W_y"], np.concatenate([hidden, *vectors])) + weights["b_y"]
    return output, {
        "memory": memory,
        "last_access": last_access,
        "clock": now + 1,
        "read_weights": np.array(reads),
        "read_vectors": np.array(vectors),
        "hidden": hidden,
        "cell": cell,
        "n": n_links,
        "p": p_links,
        "precedence": update_precedence(state["precedence"], written, links),
    }
