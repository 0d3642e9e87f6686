"""The card games, Battleship, Concentration, MineSweeper and the bandit beside POPGym's own, number by number."""

import numpy as np
import pytest

from memenvs.pcg64 import from_numpy
from memenvs.popgym.cards import SIZE
from tests.memenvs.popgym.beside import STYLES, both, ids_of, in_styles, level_of, play

pytest.importorskip("popgym")

CARDS = ("Autoencode", "RepeatFirst", "RepeatPrevious", "CountRecall", "HigherLower")
BOTH_ENDS = ("Battleship", "Concentration")
ALL = ids_of(*CARDS, *BOTH_ENDS, "MineSweeper", "MultiarmedBandit")
ROWS, STEPS = 5 * len(STYLES), 840


@pytest.mark.parametrize("name", ALL)
def test_every_step_is_that_of_popgym(name):
    ours, (theirs, *_) = both(name, 1)
    for kind in ("observation_space", "action_space"):
        own, other = getattr(ours, f"single_{kind}"), getattr(theirs, kind)
        assert (own, type(own), own.dtype) == (other, type(other), other.dtype)
    ends, returns = play(name, in_styles, ROWS, STEPS)
    # Random play of Concentration and the like ends late: every style has to come to an end.
    assert all(sum(count.values()) >= 1 for count in ends)
    if any(family in name for family in BOTH_ENDS):
        for first in (1, 4):
            flags = {flag for count in ends[first :: len(STYLES)] for flag in count}
            assert flags == {(True, first == 4)}
    best = np.concatenate(returns[1 :: len(STYLES)])
    if "HigherLower" in name:
        assert np.all(best > 0.7)
    elif "Bandit" in name:
        assert best.mean() > 0.6
    else:
        assert np.allclose(best, 1, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_levels_are_those_of_their_seeds(name):
    ours, (theirs,) = both(name, 1)
    for seed in (0, 1, 2, 77, 2**32 - 1, 2**32, 2**63, 2**64 - 1):
        level = level_of(ours.unwrapped.definition, seed)
        assert level["seed"] == seed
        theirs.reset(seed=seed)
        drawn = np.array_equal(level["random"], from_numpy(theirs.np_random))
        if "MineSweeper" in name:
            board = len(theirs.hidden_grid)
            rows = level["mined"][1 : board + 1, None] >> np.arange(1, board + 1) & 1
            assert np.array_equal(rows, theirs.hidden_grid == 1)
        elif "Battleship" in name:
            bits = np.unpackbits(level["ships"].view(np.uint8), bitorder="little")
            assert drawn and np.array_equal(bits[: theirs.board.size], theirs.board.reshape(-1))
        elif "Bandit" in name:
            assert drawn and np.array_equal(level["chances"][: theirs.num_bandits], theirs.bandits)
            assert level["best"] == theirs.bandits.argmax()
        else:
            decks = (theirs.value_deck, theirs.query_deck) if "Count" in name else (theirs.deck,)
            for deck, field in zip(decks, ("cards", "queries"), strict=False):
                assert np.array_equal(level[field][: len(deck.idx)], deck.idx % SIZE)
            assert drawn
