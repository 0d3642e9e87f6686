"""Health of a memory: logged while an agent learns, and reported after it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.algorithms.refresh import Past
from memagents.algorithms.window_algorithm import WindowAlgorithm
from memagents.checks import positive_int
from memagents.cores.core import map_state, state_leaves
from memagents.environments.make import make_env
from memagents.experiments.evaluation_settings import EVALUATION_ENVS
from memagents.experiments.run import Run
from memagents.inspection.forgetting import Forgetting, forgetting
from memagents.inspection.signs import GRADIENT_LAG, Sign, signs_of, staleness
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import map_observations, stack_steps
from memagents.runs.files import write_json
from memagents.runs.layout import HEALTH_FILE
from memagents.runs.random_states import preserved_random_states

logger = logging.getLogger(__name__)
ROWS = 8  # environments that are looked at
WINDOW = 256  # steps of a report
_NOTHING_LEARNED = "no episode succeeds, with a memory or without: nothing has been learned yet that could be forgotten"
_IN_VAIN = (
    "the memory changes what the agent does, but with none at all it scores as well: either the task needs none ("
    "--core none is faster), or what it needs has not been learned yet (docs/training.md: recall_lag, --n-steps)"
)


class HealthCallback(BaseCallback):
    """Callback that looks at an agent's memory every some windows, and logs its signs as ``health/…``.

    :param interval: windows between two looks; a look takes about as long as the window's rollout of a few rows by the
        plain loop
    :param rows: environments that are looked at
    :param verbose: 1 logs each advice (a warning of this module's logger) when it is given for the first time, and
        when it is taken back (at level ``INFO``)
    """

    def __init__(self, interval: int = 20, rows: int = ROWS, verbose: int = 1):
        super().__init__(verbose)
        self.interval, self.rows = positive_int("interval", interval), positive_int("rows", rows)
        self.advice: dict[str, str] = {}  # by the name of the sign, as it was given last
        self._windows = 0
        self._before: Past | None = None  # the window before one that is looked at

    def _init_callback(self) -> None:
        if not isinstance(self.model, WindowAlgorithm):
            raise ValueError(
                f"HealthCallback needs an agent that learns from windows, such as RecurrentPPO, not a "
                f"{type(self.model).__name__}"
            )

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        agent = self.model
        assert isinstance(agent, WindowAlgorithm)
        self._windows += 1
        due = self._windows % self.interval == 0
        if not due and (self._windows + 1) % self.interval:
            return
        seen = Past.of(agent.window, self.rows)
        if due:
            signs = signs_of(agent.policy, seen)
            if self._before is not None:
                signs.append(staleness(agent.policy, self._before, seen))
            for sign in signs:
                self.logger.record(f"health/{sign.name}", sign.value)
                self._advise(sign)
        self._before = None if due else seen

    def _advise(self, sign: Sign) -> None:
        if sign.advice is None:
            if self.advice.pop(sign.name, None) is not None and self.verbose:
                logger.info("health: %s no longer looks wrong", sign.name)
            return
        if self.verbose and sign.name not in self.advice:
            logger.warning("health: %s", sign.advice)
        self.advice[sign.name] = sign.advice


class Report(NamedTuple):
    """State of health of a memory.

    :param signs: figures, with advice where they look wrong
    :param forgetting: scores by how far back the memory goes; None where that was not asked for
    :param remembers: whether anything is remembered from step to step
    """

    signs: list[Sign]
    forgetting: Forgetting | None
    remembers: bool = True

    @property
    def advice(self) -> list[str]:
        """All advice, in plain sentences; none for a healthy memory."""
        told = [sign.advice for sign in self.signs if sign.advice is not None]
        if self._nothing_learned:
            return [*told, _NOTHING_LEARNED]
        return [*told, _IN_VAIN] if self._in_vain else told

    @property
    def _nothing_learned(self) -> bool:
        found = self.forgetting
        return found is not None and found.measure == "success" and found.whole.mean == 0

    @property
    def _in_vain(self) -> bool:
        used = any(sign.name == "use" and sign.advice is None for sign in self.signs)
        return used and self.forgetting is not None and self.forgetting.horizon == 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values; what is not finite is None."""
        signs = [{**sign._asdict(), "value": sign.value if np.isfinite(sign.value) else None} for sign in self.signs]
        found = self.forgetting
        if found is None:
            return {"signs": signs, "forgetting": None}
        scores = [score._asdict() for score in found.scores]
        whole = {"measure": found.measure, "ages": list(found.ages), "horizon": found.horizon}
        return {"signs": signs, "forgetting": {**whole, "scores": scores, "whole": found.whole._asdict()}}

    def table(self) -> Table:
        """Return the figures as a table, with the advice below."""
        well = "nothing looks wrong" if self.remembers else "nothing is remembered from step to step"
        table = Table(title="health of the memory", caption="\n".join(self.advice) or well)
        for head in ("sign", "value", "meaning"):
            table.add_column(head)
        for prefix, signs in groupby(self.signs, _before_lag):
            if prefix is None:
                for sign in signs:
                    table.add_row(sign.name, f"{sign.value:.3g}", sign.meaning, style="bold" if sign.advice else "")
            else:
                table.add_row(f"{prefix}…", "", _by_lag(prefix, list(signs)))
        if self.forgetting is not None:
            for age, score in zip(self.forgetting.ages, self.forgetting.scores, strict=True):
                back = f"a memory of {age} step{'s' * (age != 1)}"
                meaning = f"{self.forgetting.measure} with {back}, {score.low:.2f} to {score.high:.2f}"
                table.add_row(f"memory of {age}", f"{score.mean:.3g}", meaning)
            whole = self.forgetting.whole
            table.add_row("whole memory", f"{whole.mean:.3g}", f"{whole.low:.2f} to {whole.high:.2f}")
            horizon = self.forgetting.horizon
            told = "none of these ages is enough" if horizon is None else "forgetting what is older costs nothing"
            told = "there is nothing to lose" if self._nothing_learned else told
            table.add_row("effective horizon", "-" if horizon is None else str(horizon), told)
        return table


def _before_lag(sign: Sign) -> str | None:
    """Return the name without its lag, of a gradient's sign by lag; None of any other."""
    before, found, _ = sign.name.rpartition(GRADIENT_LAG)
    return before + found if found else None


def _by_lag(prefix: str, signs: Sequence[Sign]) -> str:
    """Return gradients by their lags in one sentence."""
    lags = ", ".join(sign.name.removeprefix(prefix) for sign in signs)
    values = ", ".join(f"{sign.value:.3g}" for sign in signs)
    return f"gradient by the input {lags} step{'s' * (lags != '1')} before over that by the present: {values}"


def examine(
    agent: MemoryAlgorithm,
    env: VecEnv | None = None,
    *,
    steps: int = WINDOW,
    ages: Sequence[int] = (),
    episodes: int = 100,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Examine the memory of an agent by what it does.

    :param agent: any of memagents
    :param env: wrapped as the agent needs it; by default its own, which is reset
    :param steps: of each environment that are looked at
    :param ages: how far back memories go whose return is measured, see
        :func:`memagents.inspection.forgetting.forgetting`; none by default, since it plays ``episodes`` for each
    :param episodes: for each of them
    :param seed: of the environments and of sampled actions
    :param progress: called with the number of episodes that have just ended
    :raises ValueError: if there is no environment
    """
    env = agent.env if env is None else env
    if env is None:
        raise ValueError("env must be given: the agent has none")
    seen = play(agent.policy, env, positive_int("steps", steps), seed)
    remembers = any(leaf.numel() for leaf in state_leaves(agent.policy.initial_state(1)))
    if not (remembers and len(ages)):
        return Report(signs_of(agent.policy, seen), None, remembers)
    found = forgetting(agent.policy, env, ages, episodes, seed, progress=progress)
    return Report([_reconciled(sign, found) for sign in signs_of(agent.policy, seen)], found)


def _reconciled(sign: Sign, found: Forgetting) -> Sign:
    """Take back that a memory is hardly used where it is worth something: its policy may act on little."""
    needed = 0 in found.ages and found.scores[found.ages.index(0)].high < found.whole.low
    return sign._replace(advice=None) if sign.name == "use" and needed else sign


def examine_run(run: Run, env: str, env_kwargs: dict[str, Any], *, device: str = "auto", **how: Any) -> Report:
    """Examine the memory of a run's agent, and leave the report in its folder as ``health.json``.

    :param env: id of an environment
    :param env_kwargs: its parameters
    :param device: of the policy
    :param how: arguments of :func:`examine`, ``episodes`` and ``ages`` among them
    """
    made = make_env(env, min(how["episodes"], EVALUATION_ENVS), **env_kwargs)
    agent = run.load_agent(made, device, verbose=0)
    evaluations = 1 + len(how["ages"]) if how["ages"] else 0
    with tqdm(total=how["episodes"] * evaluations, unit=" episodes", leave=False, disable=None) as bar:
        report = examine(agent, progress=bar.update, **how)
    agent.env.close()
    write_json(run.outputs / HEALTH_FILE, {"env": env, "env_kwargs": env_kwargs, **report.to_json()})
    return report


@torch.no_grad()
def play(policy: CorePolicy, env: VecEnv, steps: int, seed: int | None = None) -> Past:
    """Act for some steps by sampled actions, and return what was seen.

    :param env: wrapped as the policy needs it; it is reset
    :param steps: T
    """
    policy.set_training_mode(False)
    with preserved_random_states():
        if seed is not None:
            env.seed(seed)
            set_random_seed(seed)
        observed, starts = env.reset(), np.ones(env.num_envs, dtype=bool)
        state = policy.initial_state(env.num_envs)
        initial, kept, begun = map_state(torch.clone, state), [], []
        for _ in range(steps):
            now = map_observations(torch.clone, policy.obs_to_tensor(observed)[0])
            kept.append(now)
            begun.append(torch.as_tensor(starts.copy(), device=policy.device))
            acted = policy(now, state, begun[-1], False)
            state = acted.state
            observed, _, starts, _ = env.step(policy.to_env_actions(acted.actions))
    return Past(stack_steps(kept), torch.stack(begun), initial)
