"""Advantages computed slowly, and a tape in place of a CUDA graph."""

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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


class Tape(TorchDispatchMode):
    """Keeps the operations of torch, with the tensors they read and wrote, and repeats them on the same tensors."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        results = operation(*args, **(kwargs or {}))
        self.operations.append((operation, args, kwargs or {}, results))
        return results

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, results in self.operations:
            again = operation(*args, **kwargs)
            for kept, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(kept, torch.Tensor) and kept.data_ptr() != new.data_ptr():
                    kept.copy_(new)
