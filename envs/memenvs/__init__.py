"""Environments that cannot be solved without memory, batched and compiled."""
