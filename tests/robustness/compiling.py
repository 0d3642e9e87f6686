"""A process that compiles an environment, takes some steps and prints what it saw; it is killed by ``chaos``."""

import gymnasium as gym
import numpy as np

import memenvs  # noqa: F401


def main():
    env = gym.make_vec("memenvs/TMaze-v0", num_envs=8, length=3)
    seen, _ = env.reset(seed=0)
    total = float(seen.sum())
    for step in range(50):
        seen, rewards, *_ = env.step(np.full(8, step % 4 % env.single_action_space.n))
        total += float(seen.sum() + rewards.sum())
    print(f"{total:.6f}")


if __name__ == "__main__":
    main()
