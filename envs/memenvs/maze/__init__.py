"""Mazes whose way out was shown at the start."""
