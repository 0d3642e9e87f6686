"""Checks that an environment keeps the promises of this package; run them on an environment of your own.

::

    from memenvs.testing import check_environment

    def test_pairs():
        check_environment("pairs_game:Pairs-v0", pairs=6)

:func:`debug` runs one as plain Python, where an index beyond the end of an array is an error.
"""

from __future__ import annotations

from typing import Any

from memenvs.engine.definition import Definition
from memenvs.testing import interface, promises
from memenvs.testing.comparison import ConformanceError
from memenvs.testing.debugging import DebugError, debug
from memenvs.testing.subject import Subject

__all__ = ["ConformanceError", "DebugError", "check_environment", "debug"]

CHECKS = {
    "spaces": interface.check_spaces,
    "rewards": interface.check_rewards,
    "copies": interface.check_copies,
    "ends": interface.check_ends,
    "seeds": promises.check_seeds,
    "resets": interface.check_resets,
    "gymnasium": interface.check_gymnasium,
    "pictures": interface.check_pictures,
    "snapshots": promises.check_snapshots,
    "oracle": promises.check_oracle,
    "splits": promises.check_splits,
}


def check_environment(environment: str | Definition, **parameters: Any) -> dict[str, str]:
    """Check an environment against everything that this package promises of one.

    The checks, by the names that an error gives:

    - ``spaces``: observations of ``reset`` and ``step``, and last observations, have the dtype and shape of their space
      and lie inside it, in a batch and alone
    - ``rewards``: they are finite float64
    - ``copies``: nothing that was returned is overwritten by a later step
    - ``ends``: the flags are booleans and, without ``both_ends``, never both true; a step that ends episodes, and no
      other, has ``final_obs``, with a mask that marks exactly the rows that ended, as have ``final_info`` and the
      metrics; returns and lengths are those counted; an episode ends within 20,000 steps; a single environment
      refuses a step after the end
    - ``seeds``: the same seed gives the same levels and episodes to row i of 1, 3 and 8 environments; where there are
      levels enough for a split, other rows and other seeds have others
    - ``resets``: row 0 of a batch is the single environment, step for step, and a new episode begins in the very step
      that ends the last one (``AutoresetMode.SAME_STEP``)
    - ``gymnasium``: Gymnasium's own ``check_env`` finds no fault with the single environment
    - ``pictures``: ``rgb_array`` gives (H, W, 3) uint8 and ``ansi`` a text, in a batch and alone
    - ``snapshots``: a restored snapshot goes on as the original did, in the same environment and in a new one
    - ``oracle``: its actions are valid or -1, which stands exactly where ``decision`` is false, and its mean return
      over 128 episodes is not below that of random play on the same levels (by more than three standard errors), so
      that a score between random play (0) and the oracle (1) makes sense
    - ``splits``: ``train`` and ``test`` share no level among 2048 episodes of each, and there are no more different
      levels than ``distinct_levels``

    Most of this is what Gymnasium asks of a ``VectorEnv`` (https://gymnasium.farama.org/api/vector) and an ``Env``;
    seeds, snapshots, oracles and splits are promises of memenvs. The cost is that of compiling the environment and
    then a few seconds; more where episodes are long or an oracle searches.

    :param environment: the id of an environment that stands on :mod:`memenvs.batched`, as ``"Id"`` or ``"package:Id"``,
        or a definition
    :param parameters: of the environment, for an id
    :return: for each check ``"passed"``, or ``"skipped: "`` and the reason
    :raises ConformanceError: at the first promise that is broken
    :raises ValueError: if there is no such environment, or it cannot be made with these parameters
    """
    subject = Subject(environment, parameters)
    results = {name: check(subject) for name, check in CHECKS.items()}
    return {name: f"skipped: {reason}" if reason else "passed" for name, reason in results.items()}
