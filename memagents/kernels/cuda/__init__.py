"""Kernels for a CUDA GPU, in Triton, which is imported when a window on a GPU is first asked for."""
