"""The Differentiable Neural Computer over a window on the CPU."""
