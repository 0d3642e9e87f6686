"""Decisions from a few trials: what an episode rewards is new each time, and the agent finds it out by trying."""
