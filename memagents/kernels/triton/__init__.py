"""Kernels for a CUDA GPU, in Triton, which is not imported before a core on a GPU asks for them."""
