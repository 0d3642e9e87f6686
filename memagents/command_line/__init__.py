"""Command line: ``memagents train ppo …`` and the scripts in ``train/`` are two doors to the same functions."""
