"""python -m memenvs: the list, and episodes played by keys in a terminal and in a window."""

import os
import pty
import re
import select
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest

from memenvs import ENVIRONMENTS
from memenvs.__main__ import main
from memenvs.catalogue import definition_of, environments, find
from memenvs.maze.tmaze import TMaze
from memenvs.play.keyboard import terminal_keys
from memenvs.play.walk import COMMANDS, Answers, Walk, action_keys, observed
from tests.memenvs.support.drifting import Drifting
from tests.memenvs.support.switches import Switches

UP, RIGHT = 0, 1


class Player:
    """A walk in an environment whose keys are pressed one by one; ``screen`` is what is seen after the last."""

    def __init__(self, env, seed=0):
        self.shown = []
        self.walk = Walk(env, None, self.shown.append, seed)
        self.going = True

    def press(self, *keys):
        for key in keys:
            self.going = self.walk.press(key)
        return self.screen

    def type(self, line):
        return self.press(*("space" if letter == " " else letter for letter in line), "enter")

    @property
    def screen(self):
        return self.walk.screen()


def make(name, **parameters):
    return gym.make(name, render_mode="ansi", **parameters).unwrapped


# --- one key, one action ----------------------------------------------------------------------------------------------


def test_an_episode_by_arrows_and_letters():
    env = make("memenvs/TMaze-v0", length=2)
    player = Player(env)
    cue = env.oracle  # at the junction
    assert "step 0   reward 0   return 0" in player.screen
    assert "o: the oracle's action   r: restart   q: quit" in player.screen
    assert env.render() in player.screen
    assert player.press("o").endswith("oracle: right (key 1 or right or d)")
    assert not player.press("x").endswith("d)")  # a key that means nothing does nothing, but the answer is gone
    assert "step 1 " in player.press("right")
    assert "step 2 " in player.press("d")
    assert "observation: [0 1]" in player.screen
    turn = int(cue())
    screen = player.press("w" if turn == UP else "s")
    assert "step 3   reward 1   return 1   terminated" in screen
    assert "success 1" in screen
    assert "Enter: next episode" in screen
    assert player.press("o").endswith("the episode is over")
    assert "step 3 " in player.press("right")
    assert "step 0   reward 0   return 0" in player.press("enter")
    assert player.going
    player.press("q")
    assert not player.going


def test_a_wrong_turn_a_time_limit_and_a_restart():
    env = make("memenvs/TMaze-v0", length=1)
    player = Player(env)
    player.press("1")
    screen = player.press("down" if env.oracle() == UP else "up")
    assert "reward 0   return 0   terminated" in screen
    assert "success 0" in screen
    player.press("r")
    assert "step 4   reward 0   return 0   truncated" in player.press("left", "left", "left", "left")
    assert "step 1 " in player.press("r", "right")
    assert "step 0 " in player.press("r")


def test_the_seed_decides_on_the_first_episode():
    first, again, other = (Player(make("memenvs/Underground-v0"), seed).screen for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("key", ["q", "escape", "\x03", "\x04", ""])
def test_ways_to_quit(key):
    keys, shown = iter(["1", key, "1"]), []
    Walk(make("memenvs/TMaze-v0", length=5), lambda: next(keys), shown.append, 0).run()
    assert len(shown) == 2
    assert "step 1 " in shown[-1]
    assert next(keys) == "1"


def test_where_no_action_matters_enter_goes_on():
    env = make("memenvs/Underground-v0", distance=1)
    player = Player(env)
    total = 0
    while not env.batch.decision[0]:
        assert "no action matters now   Enter: go on" in player.screen
        assert player.press("o").endswith("oracle: no action matters")
        total += 1
        assert f"step {total} " in player.press("enter" if total % 2 else "space")
    assert "no action matters" not in player.screen
    assert "an action is needed: 0 to 7: actions" in player.press("enter")
    assert f"step {total} " in player.screen
    best = env.oracle()
    assert player.press("o").endswith(f"oracle: action {best} (key {best})")
    assert f"step {total + 1}   reward 0.99   return 0.99   terminated" in player.press(str(best))
    assert "success 1   spl 1" in player.screen


def test_an_environment_with_neither_oracle_nor_pictures():
    env = Drifting()
    player = Player(env)
    assert player.press("o").endswith("this environment has no oracle")
    assert "place: [" in player.screen and "scent: [" in player.screen
    assert "step 1   reward 0.5 " in player.press("2")
    assert "step 2   reward 0.25   return 0.75" in player.press("1")


def test_large_observations_are_left_out():
    told = observed({"few": np.arange(3), "many": np.zeros((9, 9)), "one": 7})
    assert told == ["few: [0 1 2]", "one: 7"]
    assert observed((np.int64(1), np.int64(3))) == ["observation 0: 1", "observation 1: 3"]
    assert observed(np.float32([0.125, -1])) == ["observation: [ 0.12 -1.  ]"]


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("up", "right", "down", "left"), {"up": 0, "w": 0, "right": 1, "d": 1, "down": 2, "s": 2, "left": 3, "a": 3}),
        (
            ("left", "right", "forward", "pick up", "drop", "toggle", "done"),
            {"left": 0, "a": 0, "right": 1, "d": 1, "up": 2, "w": 2, "p": 3, "t": 5, "n": 6},
        ),
        (("turn left", "move forward", "open"), {"left": 0, "a": 0, "up": 1, "w": 1, "p": 2}),
        (("stay", "north", "restart"), {"t": 0, "up": 1, "w": 1, "e": 2}),
        ((), {}),
    ],
)
def test_keys_by_the_names_of_actions(names, keys):
    n = len(names) or 5
    assert action_keys(n, names) == {str(action): action for action in range(n)} | keys


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_action_has_a_way_to_be_given(name):
    answers = Answers(definition_of(find(name)))
    if answers.typed:
        some = answers.space.sample()
        line = " ".join(map(str, np.atleast_1d(some)))
        assert np.array_equal(answers.read(line), some)
        assert answers.wanted() in answers.help()
    else:
        assert set(answers.keys.values()) == set(range(answers.n))
        assert not answers.keys.keys() & COMMANDS.keys()


# --- answers that are typed -------------------------------------------------------------------------------------------


def test_bits_are_typed():
    env = make("memenvs/Copy-v0", width=3, length=2)
    player = Player(env)
    assert "type 3 digits 0 or 1, then Enter" in player.screen
    player.press(*["enter"] * 4)
    assert "step 4 " in player.screen
    first = "".join(map(str, env.oracle()))
    assert f"oracle: {first}\n" in player.press("o")
    assert player.press("1", "space", "x").endswith("> 1 x")
    assert player.press("backspace", "backspace", "backspace", "backspace").endswith("> ")
    for wrong in ("10", "1010", "102", "1.0", "-10", "²10"):
        assert f"'{wrong}' is no answer: type 3 digits 0 or 1" in player.type(wrong)
    assert "step 4 " in player.screen
    assert "step 5   reward 0.5 " in player.type(f"{first[0]} {first[1:]}")
    second = "".join(map(str, 1 - env.oracle()))
    screen = player.type(second)
    assert "reward 0   return 0.5   terminated" in screen
    assert "success 0   wrong_bits 3   bits 6" in screen


def test_numbers_are_typed():
    env = Switches(dials=(3, 10, 2))
    player = Player(env)
    assert "type numbers: 0 to 2, 0 to 9, 0 to 1, then Enter" in player.screen
    for line in ("3 0 0", "0 10 0", "0 0", "0 0 0 0", "a 0 0"):
        assert f"'{line}' is no answer" in player.type(line)
    while env.oracle()[0] < 0:
        player.press("enter")
    best = env.oracle()
    assert f"oracle: {best[0]} {best[1]} {best[2]}" in player.press("o")
    assert " reward 1 " in player.type(f"{best[0]}, {best[1]},{best[2]}")


def test_real_numbers_are_typed():
    player = Player(make("memenvs/popgym-PositionOnlyPendulumEasy-v0"))
    assert "type 1 number(s) from -2 to 2, then Enter" in player.screen
    for line in ("2.1", "nan", "1 1", "left"):
        assert f"{line!r} is no answer" in player.type(line)
    assert "step 0 " in player.screen
    assert "torque -0.75 of 1" in player.type("-1.5")
    assert "step 2 " in player.type("1e0")


def test_names_are_typed_and_commands_too():
    env = make("memenvs/StoryQA-v0", sentences=1)
    player = Player(env)
    assert "then Enter" in player.screen and "a name: Mary, " in player.screen
    assert "q Enter: quit" in player.screen
    player.press("enter")
    right = env.definition.action_names[env.oracle()]
    assert player.press("o").endswith("> o")  # which may begin a name
    assert f"oracle: {right} ({env.oracle()})\n> " in player.press("enter")
    assert "'offices' is no answer: type a number from 0 to 12 or a name: " in player.type("offices")
    assert "step 2   reward 1   return 1   terminated" in player.type(right.upper())
    assert "step 0 " in player.press("r")  # nothing is typed after the end
    player.type("r")
    assert "step 0 " in player.screen
    assert "'13' is no answer" in player.press("enter", "1", "3", "enter")
    assert "terminated" in player.type("12")
    assert "step 0 " in player.press("enter")
    player.type("q")
    assert not player.going


# --- the program ------------------------------------------------------------------------------------------------------


def test_the_list(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main([]) == 0
    printed = capsys.readouterr().out
    rows = dict(re.findall(r"^ (memenvs/\S+) +(\S.*\S) *$", printed, re.MULTILINE))
    assert rows.keys() == environments().keys()  # each with a description, and none cut short
    assert "Remember a cue" in rows["memenvs/TMaze-v0"]
    assert "Take the key" in rows["memenvs/MiniGrid-DoorKey-5x5-v0"]
    assert main(["--help"]) == 0
    assert "python -m memenvs TMaze-v0 --length 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["TMase-v0"], "error: there is no environment 'TMase-v0'"),
        (["memenvs/Maize"], "memenvs has: memenvs/AssociativeRecall-v0, memenvs/Bandit-v0, "),
        (["CartPole-v1"], "error: CartPole-v1 is not built on memenvs.batched"),
        (["TMaze-v0", "--length", "0"], "error: length must be within 1 to "),
        (["TMaze-v0", "--split", "test"], "error: split must be None"),
        (["Underground-v0", "--stations", "6", "4"], "error: stations must be within 2 to 500"),
        (["TMaze-v0"], "error: keys are read from a terminal, and the standard input is none"),
        (["--lenght", "3"], "python -m memenvs TMaze-v0 --length 4"),
    ],
)
def test_mistakes_are_named(words, message, capsys):
    assert main(words) == 2
    told = capsys.readouterr()
    assert message in told.err and told.out == ""


def test_unknown_parameters_and_wrong_kinds(capsys):
    for words in (["--lenght", "3"], ["--length", "long"], ["3"]):
        with pytest.raises(SystemExit) as stop:
            main(["memenvs/TMaze-v0", *words])
        assert stop.value.code == 2
        told = capsys.readouterr().err
        assert "--length" in told or words[-1] in told
    with pytest.raises(SystemExit) as stop:
        main(["memenvs/TMaze-v0", "--help"])
    assert stop.value.code == 0
    assert "drawn anew in every episode (default: 10)" in " ".join(capsys.readouterr().out.split())


def test_a_walk_through_a_pseudo_terminal():
    """Keys as a terminal sends them, the program in a process of its own, the terminal left as it was."""
    ours, theirs = pty.openpty()
    before = subprocess.run(["stty", "-a"], stdin=theirs, capture_output=True).stdout
    words = [sys.executable, "-m", "memenvs", "TMaze-v0", "--length", "1", "--seed", "0"]
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)
    seen = ""

    def until(text):
        nonlocal seen
        end = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < end, seen
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 4096).decode(errors="replace")  # half a letter may be what is there
        answer, seen = seen, ""
        return answer

    try:
        until("q: quit")
        os.write(ours, b"\x1b[C")  # right
        until("step 1 ")
        os.write(ours, b"o")
        turn = until(" or ")
        os.write(ours, b"\x1bOA" if "up" in turn else b"\x1b[B")
        assert "\x1b[2J" in until("success 1")
        os.write(ours, b"\r")
        until("step 0 ")
        os.write(ours, b"q")
        assert process.wait(30) == 0
        assert subprocess.run(["stty", "-a"], stdin=theirs, capture_output=True).stdout == before
    finally:
        process.kill()
        os.close(ours), os.close(theirs)


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"\x1b[A\x1b[B\x1bOC\x1bOD", ["up", "down", "right", "left"]),
        (b"q7 \r\x7f", ["q", "7", "space", "enter", "backspace"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[3~q\x1b[1;5Cq\x1bOPq\x1bxq", ["unknown", "q"] * 4),  # delete, control and right, F1, alt and x
        ("é→q".encode(), ["é", "→", "q"]),  # and not the end of the input
        (b"\xc3q", ["\ufffdq"]),  # half a letter
    ],
    ids=str,
)
def test_keys_as_a_terminal_sends_them(monkeypatch, sent, keys):
    ours, theirs = pty.openpty()
    with open(theirs) as stdin, open(ours, "wb", buffering=0) as terminal:
        monkeypatch.setattr(sys, "stdin", stdin)
        with terminal_keys() as read:
            terminal.write(sent)
            assert [read() for _ in keys] == keys


def test_a_walk_in_a_window(monkeypatch, capsys):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    looks = []
    reset = TMaze.reset

    def reset_and_press(self, **kwargs):
        """The keys are pressed once the window is open."""
        result = reset(self, **kwargs)
        looks.append(pygame.display.get_surface().get_size())
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_LSHIFT, unicode=""))
        for key, letter in ((pygame.K_RIGHT, ""), (pygame.K_o, "o"), (pygame.K_a, "a")):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=letter))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        return result

    monkeypatch.setattr(TMaze, "reset", reset_and_press)
    assert main(["TMaze-v0", "--length", "3", "--seed", "0", "--window"]) == 0
    screens = capsys.readouterr().out.split("\x1b[H\x1b[2J\x1b[3J")[1:]
    assert [next(line for line in s.split("\n") if line.startswith("step"))[:6] for s in screens] == [
        "step 0",
        "step 1",
        "step 1",
        "step 2",
    ]
    assert "oracle: right" in screens[2]
    assert "█" not in screens[0]  # the picture is in the window
    assert looks[0][0] > 100
    assert not pygame.display.get_init()
