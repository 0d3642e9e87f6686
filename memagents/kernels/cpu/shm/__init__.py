"""The Stable Hadamard Memory over a window on the CPU."""
