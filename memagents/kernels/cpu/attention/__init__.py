"""Attention to runs of positions, and what lies around it in a Transformer, on the CPU."""
