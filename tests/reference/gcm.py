"""Morad et al. 2021: the whole graph of an episode, all of whose nodes are computed anew."""

import numpy as np


def gcm_outputs(weights, observations, neighbours, mean):
    """What the last node says as each comes.

    ``weights``: "embedding" (matrix, bias), and "layers", each (W_1, b, W_2). ``neighbours`` are sets of earlier steps,
    one for each step.
    """
    outputs = []
    for count in range(1, len(observations) + 1):
        nodes = [weights["embedding"][0] @ o + weights["embedding"][1] for o in observations[:count]]
        for own, bias, others in weights["layers"]:
            nodes = [
                np.tanh(own @ node + bias + others @ _gathered(nodes, neighbours[t], mean))
                for t, node in enumerate(nodes)
            ]
        outputs.append(nodes[-1])
    return outputs


def _gathered(nodes, neighbours, mean):
    total = np.zeros_like(nodes[0])
    for j in neighbours:
        total = total + nodes[j]
    return total / max(len(neighbours), 1) if mean else total
