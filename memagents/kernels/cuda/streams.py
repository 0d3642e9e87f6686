"""The stream on which work for a CUDA graph is warmed up and captured; imports no Triton."""

from __future__ import annotations

import functools

import torch


@functools.cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream of a device for all warming up and capturing.

    One for all, since cuBLAS keeps its working memory for every stream that it has seen, and autograd's nodes of
    parameters remember the stream they were made on.
    """
    return torch.cuda.Stream(device)
