"""What the processes of ``test_ranks`` do: the same as one process with all environments, each with its share."""

import sys
from pathlib import Path

import numpy as np
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch.nn import Parameter

from memagents import MFEC, Imitation, RecurrentPPO, ranks
from memagents.environments.normalization import running_sums, share_sums
from tests.support.agents import make, weights_of
from tests.support.toys import Toy, tmaze

ROWS = 4  # environments of all processes


class ByNumber(RecurrentPPO):
    """Acts by step and environment alone, since draws of one process are not those of several."""

    def choose(self, observations, state, t):
        acted = super().choose(observations, state, t)
        return acted._replace(actions=(t + torch.arange(self.n_envs) + ranks.rank() * self.n_envs) % 3)


def toys():
    """This rank's share of the environments, of which some steps are no decisions."""
    return DummyVecEnv([lambda: Monitor(Toy(tells=True))] * ranks.share("rows", ROWS))


def learned(cls, **kwargs):
    """Return the weights after three windows, and the returns of the last episodes."""
    agent = make(toys(), cls=cls, n_minibatches=1, **kwargs)
    agent.learn(3 * 8 * ROWS)
    assert agent.num_timesteps == 3 * 8 * ROWS
    return weights_of(agent), torch.tensor([episode["r"] for episode in agent.ep_info_buffer]).sort().values


def trainings():
    """Return the results of several kinds of training, by name."""
    learns = {
        "ppo": learned(ByNumber, n_epochs=2, target_kl=0.5, ent_coef=0.01),
        "values": learned(ByNumber, normalize_values=True, policy_kwargs={"critic_core": None}),
        "bonus": learned(ByNumber, bonus="rnd", bonus_kwargs={"coef": 0.1, "heads": 2}),
        "imitation": learned(Imitation),
    }
    return {
        f"{kind}/{name}": value
        for kind, (weights, returns) in learns.items()
        for name, value in {**weights, "returns": returns}.items()
    }


def statistics():
    """Return the statistics of observations and returns after eight steps."""
    env = VecNormalize(toys())
    env.seed(7 + ranks.rank() * env.num_envs)
    shared = running_sums(env)
    env.reset()
    for _ in range(2):
        for _ in range(4):
            env.step(np.zeros(env.num_envs, np.int64))
        shared = share_sums(env, shared)
    return {"mean": env.obs_rms.mean, "var": env.obs_rms.var, "of returns": np.array([env.ret_rms.var])}


def messages():
    """Return what the functions of ``ranks`` make of numbers that differ by rank."""
    rank, size = ranks.rank(), ranks.size()
    rows = torch.arange(5.0 * ROWS, dtype=torch.float64).view(ROWS, 5)[rank * ROWS // size : (rank + 1) * ROWS // size]
    first = torch.full((2,), float(rank))
    ranks.take_first([first])
    without, with_one = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    if rank == size - 1:
        with_one.grad = torch.full((2,), 2.0)
    ranks.mean_gradients([without, with_one])
    assert without.grad is None
    count, mean, squares = ranks.moments(rows)
    return {
        "total": ranks.total(rows.sum(0)),
        "count": count,
        "mean": mean,
        "squares": squares,
        "first": first,
        "gradient": with_one.grad * size,
        "anywhere": torch.tensor([ranks.anywhere(rank == size - 1), ranks.anywhere(False)]),
        "counted": ranks.mean_count(rows[:, 0] > 7) * size,
        "figures": torch.tensor(list(ranks.mean_figures({"a": float(rows.sum())}).values())) * size,
    }


def goes_on(folder):
    """Assert that a stop after two windows changes nothing, and that ranks see different episodes."""
    straight = make(tmaze(2))
    straight.learn(4 * 8 * 2 * ranks.size())
    first = make(tmaze(2), run_dir=folder)
    assert (first.run_dir is None) == (ranks.rank() > 0)
    first.learn(2 * 8 * 2 * ranks.size())
    again = RecurrentPPO.resume(folder, tmaze(2), device="cpu")
    again.learn(2 * 8 * 2 * ranks.size(), reset_num_timesteps=False)
    for name, weight in weights_of(straight).items():
        assert torch.equal(weight, weights_of(again)[name]), name
    assert np.array_equal(straight.window.actions, again.window.actions)
    parts = ranks.gathered(np.asarray(straight.window.actions).tobytes())
    assert len(set(parts)) == ranks.size()


def refused():
    """Assert that what cannot be done together is refused."""
    for make_it, words in (
        (lambda: make(tmaze(2 + ranks.rank())).learn(8), "as many environments"),
        (lambda: MFEC("MlpPolicy", tmaze(2), device="cpu").learn(8), "MFEC learns in one process"),
        (lambda: make(tmaze(2), cuda_graphs=True).learn(8), "cuda_graphs"),
        (lambda: ranks.share("n_envs", 3), "n_envs must be a multiple of the number of processes"),
    ):
        try:
            make_it()
        except ValueError as error:
            assert words in str(error), error
        else:
            raise AssertionError(words)


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    with ranks.joined("cpu"):
        found = {**trainings(), **statistics(), **messages()}
        if ranks.size() > 1:
            goes_on(folder / "run")
            refused()
        np.savez(folder / f"{ranks.size()}-{ranks.rank()}.npz", **{n: np.asarray(v) for n, v in found.items()})


if __name__ == "__main__":
    main()
