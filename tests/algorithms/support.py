"""Advantages computed slowly."""

import numpy as np


def slow_advantages(rewards, values, ends, bootstrap, last_values, gamma, gae_lambda):
    """Episode by episode: the sum of (γλ)^k δ_{t+k} up to the end of the episode or of the window."""
    result = np.zeros_like(rewards)
    for row in range(rewards.shape[1]):
        for t in range(len(rewards)):
            for k in range(t, len(rewards)):
                if ends[k, row]:
                    following = bootstrap[k, row]
                elif k + 1 == len(rewards):
                    following = last_values[row]
                else:
                    following = values[k + 1, row]
                delta = rewards[k, row] + gamma * following - values[k, row]
                result[t, row] += (gamma * gae_lambda) ** (k - t) * delta
                if ends[k, row]:
                    break
    return result
