"""Kernels for the CPU, compiled by Numba; imported when a window on the CPU is first asked for."""
