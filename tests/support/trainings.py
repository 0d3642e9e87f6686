"""Settings small enough for a test, and the algorithms with their settings."""

from memagents import MFEC, NEC, Imitation, RecurrentPPO
from memagents.experiments.settings import ImitationSettings, MFECSettings, NECSettings, PPOSettings

SMALL = {"env": "memenvs/TMaze-v0", "env_kwargs": {"length": 1}, "core": "gru", "core_kwargs": {"hidden_size": 8}}
SMALL |= {"n_envs": 8, "n_steps": 8, "total_timesteps": 64, "device": "cpu"}


KINDS = {
    PPOSettings: (RecurrentPPO, "ppo.py"),
    ImitationSettings: (Imitation, "imitate.py"),
    NECSettings: (NEC, "/nec.py"),
    MFECSettings: (MFEC, "/mfec.py"),
}
