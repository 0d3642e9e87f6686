"""Run folders of agents that learned nothing, and what is in a file that was made of them."""

import json
from functools import partial

import gymnasium as gym
import numpy as np
import onnxruntime
import torch
from gymnasium import spaces

from memagents.export.programs import METADATA, torch_runner
from tests.support.agents import make
from tests.support.worlds import World

MIXED = spaces.Dict(
    {
        "numbers": spaces.Box(-1, 1, (3,), np.float32),
        "far": spaces.Box(-np.inf, np.inf, (2,), np.float64),
        "grid": spaces.Box(0, 255, (7, 7, 3), np.uint8),
        "choice": spaces.Discrete(4, start=-1),
        "choices": spaces.MultiDiscrete([2, 3]),
        "words": spaces.MultiDiscrete([64] * 4),
        "bits": spaces.MultiBinary(3),
    }
)
ACTIONS = {
    "discrete": spaces.Discrete(3, start=1),
    "multi_discrete": spaces.MultiDiscrete([2, 4]),
    "multi_binary": spaces.MultiBinary(3),
    "box": spaces.Box(np.array([-0.01, -2], np.float32), np.array([0.01, 2], np.float32)),
}


def worlds(observation_space=None, action_space=None, n=2):
    """Several environments of any spaces."""
    return gym.vector.SyncVectorEnv([partial(World, observation_space, action_space)] * n)


def saved(folder, env=None, core="gru", perturb=True, **kwargs):
    """Save an agent whose weights are away from where they begin, and return the agent and the folder of the run."""
    kwargs["policy_kwargs"] = {"critic_core": None, **kwargs.get("policy_kwargs", {})}
    agent = make(worlds() if env is None else env, core=core, **kwargs)
    if perturb:
        with torch.no_grad():
            for parameter in agent.policy.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    agent.save(folder / "run")
    return agent, folder / "run"


def session_of(path):
    """Load a file into ONNX Runtime."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def opened(path):
    """What runs a file, and its description."""
    if path.suffix == ".pt2":
        extra = {METADATA: ""}
        return torch_runner(torch.export.load(path, extra_files=extra)), json.loads(extra[METADATA])
    session = session_of(path)
    names = [output.name for output in session.get_outputs()]
    described = json.loads(session.get_modelmeta().custom_metadata_map[METADATA])
    return lambda inputs: dict(zip(names, session.run(None, inputs), strict=True)), described


def zeros_of(described, rows):
    """The state to begin with."""
    wanted = {name: facts for name, facts in described["inputs"].items() if name.startswith("state")}
    return {name: np.zeros((rows, *facts["shape"]), facts["dtype"]) for name, facts in wanted.items()}
