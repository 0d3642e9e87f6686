"""The Differentiable Neural Computer over a window on a GPU."""
