"""Vectors that live in registers, and the primitives on them of which the CPU kernels are made."""
