"""The Neural Turing Machine over a window on a GPU."""
