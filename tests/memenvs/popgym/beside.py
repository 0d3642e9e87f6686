"""Play of environments here and of POPGym's own beside them, with the same levels and actions."""

from collections import Counter

import gymnasium as gym
import numpy as np

from memenvs.popgym.ids import FAMILIES, LEVELS

STYLES = ("random", "best", "noisy", "worst", "late")


def ids_of(*families):
    """The ids of families, by default of all."""
    return [f"popgym-{family}{level}-v0" for family in families or FAMILIES for level in LEVELS]


def both(name, num_envs):
    """A batch of ours, and as many of POPGym's."""
    ours = gym.make_vec(f"memenvs/{name}", num_envs=num_envs)
    return ours, [gym.make(name, disable_env_checker=True).unwrapped for _ in range(num_envs)]


def begin(env, row):
    """Begin the episode in POPGym's environment that stands in a row of ours; return its first observation."""
    return env.reset(seed=int(row["level"]["seed"]))[0]


def level_of(definition, seed):
    """Our level of a seed."""
    levels = np.zeros(1, definition.level)
    assert definition.generate(definition.params[0], np.uint64(seed), levels[0])
    return levels[0]


def batched(observations):
    """Observations of single environments as those of a batch."""
    if isinstance(observations[0], tuple):
        return tuple(np.array(entries) for entries in zip(*observations, strict=True))
    return np.array(observations)


def same(first, second):
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return np.array_equal(first, second)


def changed(observations, i, observation):
    """A batch of observations with another one in row i."""
    if isinstance(observations, tuple):
        return tuple(changed(entries, i, entry) for entries, entry in zip(observations, observation, strict=True))
    observations = observations.copy()
    observations[i] = observation
    return observations


def play(name, act, num_envs, steps, seed=0):
    """Step both, and compare all that they say, number by number.

    :param act: ``act(ours, decision, rng)`` gives the actions
    :return: how often episodes ended with which flags, by row, and their returns, by row
    """
    ours, theirs = both(name, num_envs)
    batch, rng = ours.unwrapped.batch, np.random.default_rng(seed)
    observations, infos = ours.reset(seed=seed)
    assert same(observations, batched([begin(env, row) for env, row in zip(theirs, batch.rows, strict=True)]))
    ends, returns, total = [Counter() for _ in theirs], [[] for _ in theirs], np.zeros(num_envs)
    for _ in range(steps):
        actions = act(ours, infos["decision"], rng)
        observations, rewards, terminated, truncated, infos = ours.step(actions)
        given = [env.step(action)[:4] for env, action in zip(theirs, actions, strict=True)]
        seen, *others = (list(column) for column in zip(*given, strict=True))
        for ours_said, theirs_said in zip((rewards, terminated, truncated), others, strict=True):
            assert np.array_equal(ours_said, np.array(theirs_said))
        total += rewards
        expected = batched(seen)
        for i in np.flatnonzero(terminated | truncated).tolist():
            final = infos["final_obs"]
            last = tuple(entries[i] for entries in final) if isinstance(final, tuple) else final[i]
            assert same(last, seen[i])
            expected = changed(expected, i, begin(theirs[i], batch.rows[i]))
            ends[i][bool(terminated[i]), bool(truncated[i])] += 1
            returns[i].append(total[i])
            total[i] = 0
        assert same(observations, expected)
    return ends, returns


def remaining(batch):
    """How many steps the best play needs in each row, and how many there are left."""
    state, level = batch.rows["state"], batch.rows["level"]
    if "ships" in level.dtype.names:
        return level["squares"] - state["hits"], level["board"] ** 2 - state["time"]
    if "seen" in state.dtype.names:
        waits = state["first"] < level["n"]
        return level["n"] - state["found"] - waits, 2 * level["n"] - state["time"]
    return np.zeros(len(state)), np.zeros(len(state))


def in_styles(ours, decision, rng):
    """Actions in the style of each row: ``STYLES`` again and again.

    The worst play answers wrongly, or does the same again and again; the late one does until only the best can still
    reach the end in the last step.
    """
    batch = ours.unwrapped.batch
    drawn, best = ours.action_space.sample(), np.maximum(ours.oracle(), 0)
    wide = (slice(None),) + (None,) * (best.ndim - 1)  # of a flag a row to its action's entries
    style = np.arange(ours.num_envs) % len(STYLES)
    sizes = ours.single_action_space.nvec if best.ndim > 1 else ours.single_action_space.n
    wrong = np.zeros_like(best) if best.ndim > 1 or "seen" in batch.rows["state"].dtype.names else (best + 1) % sizes
    needed, left = remaining(batch)
    late = np.where((left > needed)[wide], np.zeros_like(best), best)
    noise = rng.random(ours.num_envs) < 0.1
    actions = drawn
    for number, chosen in ((1, best), (2, np.where(noise[wide], drawn, best)), (3, wrong), (4, late)):
        actions = np.where((style == number)[wide], chosen, actions)
    return actions
