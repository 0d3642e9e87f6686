"""Kernels for a CUDA GPU, in Triton. Nothing here is imported before a core on a GPU asks for it."""
