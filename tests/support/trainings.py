"""Settings small enough for a test, and the algorithms with their settings."""

SMALL = {"env": "memenvs/TMaze-v0", "env_kwargs": {"length": 1}, "core": "gru", "core_kwargs": {"hidden_size": 8}}
SMALL |= {"n_envs": 8, "n_steps": 8, "total_timesteps": 64, "device": "cpu"}
