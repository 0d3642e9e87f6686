"""The Neural Turing Machine over a window on the CPU."""
