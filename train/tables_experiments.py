"""What the tables of ``train/tables.py`` show: which agents, trained by which recipe, and where they are tested."""

from typing import Any

from experiment import Experiment
from tables_graphs import distillations, dnc_paper

from memagents import core_names

SHARES = ("success", "first", "later")  # metrics that are at most 1
NO_BONUS: dict[str, Any] = {"bonus": None, "bonus_kwargs": {}}
SMALL_DNC = {"slots": 16, "width": 16, "read_heads": 2, "controller_size": 64}
MEMORY_S13_CORES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"core_kwargs": {"hidden_size": 64}},
    "gtrxl": {"core_kwargs": {"width": 64, "layers": 2, "length": 32}},
    "dnc": {"core_kwargs": SMALL_DNC},
}
COPY_DNC = {"slots": 32, "width": 20, "read_heads": 1, "controller_size": 100}
RECALL_DNC = {"slots": 64, "width": 24, "read_heads": 2, "controller_size": 100}
NTH_FARTHEST_DNC = {"slots": 8, "width": 16, "read_heads": 2, "controller_size": 64}


def cures(dnc: dict[str, Any], **changes: Any) -> dict[str, dict[str, Any]]:
    """Return rows of a DNC with each of the options that Csordás and Schmidhuber (2019) propose, and with all."""
    options = {"M": "masked_lookup", "D": "deallocate", "S": "sharpen_links"}
    return {
        f"dnc-{'-'.join(letters)}": {
            "core": "dnc",
            "core_kwargs": {**dnc, **{options[letter]: True for letter in letters}},
            **changes,
        }
        for letters in (*options, "".join(options))
    }


EXPERIMENTS = {
    "copy": Experiment(
        title="Copy",
        about="Wrong bits in a sequence of 8-bit vectors (of 160, 320 and 960), trained on lengths 1 to 20.",
        recipe="copy",
        rows={
            "ntm": {"core_kwargs": {"slots": 128, "width": 20, "controller_size": 100}},
            "dnc": {"core_kwargs": COPY_DNC, "total_timesteps": 4_000_000},
            "lstm": {"core_kwargs": {"hidden_size": 256}},
            **cures(COPY_DNC, total_timesteps=4_000_000),
        },
        tests={
            "length 20": {"length": 20},
            "length 40": {"length": 40},
            "length 120": {"length": 120},
        },
        test_slots=128,
        metric="wrong_bits",
    ),
    "associative_recall": Experiment(
        title="Associative recall",
        about="Share of items recalled without a wrong bit, trained on 2 to 6 items of 3 × 6 bits.",
        recipe="associative_recall",
        rows={
            "dnc": {"core_kwargs": RECALL_DNC},
            "ntm": {"core_kwargs": {"slots": 64, "width": 24, "controller_size": 100}},
            "sam": {"core_kwargs": {"slots": 128, "width": 24, "read_heads": 2, "controller_size": 100}},
            "lstm": {"core_kwargs": {"hidden_size": 256}},
            **cures(RECALL_DNC),
        },
        tests={f"{items} items": {"items": items} for items in (6, 10, 15)},
        test_slots=128,
    ),
    "nth_farthest": Experiment(
        title="N-th farthest",
        about="Share of right answers for 3 vectors of one number, where the rank alone gives 2/3. The published size "
        "(8 vectors of 16 numbers) is the recipe `nth_farthest`, for a GPU.",
        recipe="nth_farthest_small",
        rows={
            "rmc": {"core_kwargs": {"slots": 4, "width": 32, "heads": 2}},
            "lstm": {"core_kwargs": {"hidden_size": 64}},
            "dnc": {"core_kwargs": NTH_FARTHEST_DNC},
            "dnc, random start": {"core": "dnc", "core_kwargs": {**NTH_FARTHEST_DNC, "ready_to_record": False}},
        },
        tests={"success": {}},
        episodes=2000,
    ),
    "one_shot": Experiment(
        title="One-shot naming",
        about="Recipe `one_shot`, 2M steps, agents of 480,000 weights: five characters never seen before, whose labels "
        "are shuffled in each of 1,000 episodes; the share of right names at the first, second, fifth and tenth time "
        "that a character is shown. At the first it can only be guessed. MANN's published shares are 0.36, 0.83, 0.95 "
        "and 0.98, of Omniglot's characters; here they are drawn.",
        recipe="one_shot",
        rows={
            core: {"core_kwargs": kwargs, "total_timesteps": 2_000_000}
            for core, kwargs in {
                "mann": {"slots": 128, "width": 40, "heads": 4, "controller_size": 200, "key_strengths": True},
                "dnc": {"slots": 128, "width": 40, "read_heads": 4, "controller_size": 192},
                "lstm": {"hidden_size": 297},
                "gtrxl": {"length": 50, "layers": 2, "width": 96},
                "deltanet": {"layers": 2, "width": 626},
            }.items()
        },
        tests={name: {"metric": f"accuracy_{name[:-2]}"} for name in ("1st", "2nd", "5th", "10th")},
        episodes=1000,
        curves="",
        each_seed=True,
    ),
    "minigrid_doorkey": Experiment(
        title="MiniGrid's DoorKey, here and on MiniGrid",
        about="The same recipe on either implementation of DoorKey-5x5, 300,000 steps; success in 1,000 episodes here.",
        recipe="minigrid_doorkey",
        rows={
            name: {"core": "lstm", "env": f"{space}MiniGrid-DoorKey-5x5-v0"}
            for name, space in (("memenvs", "memenvs/"), ("MiniGrid", ""))
        },
        tests={"success": {"env": "memenvs/MiniGrid-DoorKey-5x5-v0"}},
        episodes=1000,
        document="worlds.md",
        curves="minutes",
    ),
    "maze": Experiment(
        title="A goal found again",
        about="Recipe `maze` (PPO, 20M steps): a hidden goal stays where it is while the agent is put elsewhere each "
        "time it gets there. How many times it got there, and how short its first way and the later ones were (the "
        "fewest possible steps over those it took), in 1,000 episodes of mazes not seen before.",
        recipe="maze",
        rows={"gru": {}, "none": {}},
        tests={
            **{name: {"metric": name} for name in ("goals", "first", "later")},
            "later, sampled actions": {"metric": "later", "sampled": True},
        },
        episodes=1000,
        document="worlds.md",
        each_seed=True,
    ),
    "memory_s7": Experiment(
        title="MiniGrid's MemoryS7",
        about="The recipe `minigrid_memory` (an LSTM with a bonus for what is new in the episode), 2M steps; the "
        "share of right choices in 1,000 episodes.",
        recipe="minigrid_memory",
        rows={
            "lstm": {},
            "lstm, no bonus": {"core": "lstm", **NO_BONUS},
            "lstm, no recall": {"core": "lstm", "policy_kwargs": {"net_arch": [64]}},
            "lstm, one memory": {"core": "lstm", "critic_core": None},
        },
        tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
        episodes=1000,
        document="learning.md",
        each_seed=True,
    ),
    "memory_s13": Experiment(
        title="MiniGrid's MemoryS13",
        about="The recipe `minigrid_memory_s13`, 3M steps in all, those in the shorter corridors included; the share "
        "of right choices in 1,000 episodes of the last corridor, and of a longer one that was never trained.",
        recipe="minigrid_memory_s13",
        rows={
            **MEMORY_S13_CORES,
            **{f"{core}, no bonus": {"core": core, **row, **NO_BONUS} for core, row in MEMORY_S13_CORES.items()},
            "lstm, no lessons": {"core": "lstm", "lessons": ()},
        },
        tests={
            "most likely actions": {},
            "sampled actions": {"sampled": True},
            "S17Random": {"env": "memenvs/MiniGrid-MemoryS17Random-v0"},
        },
        episodes=1000,
        document="learning.md",
        each_seed=True,
    ),
    "multiroom": Experiment(
        title="MiniGrid's MultiRoom-N6",
        about="The recipe `minigrid_multiroom` (an LSTM with a bonus for what is new in the episode), 3M steps, "
        "trained on one part of the levels; how often the goal was reached in 1,000 episodes of the other part.",
        recipe="minigrid_multiroom",
        rows={"lstm": {}, "lstm, no bonus": {"core": "lstm", **NO_BONUS}},
        tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
        episodes=1000,
        document="learning.md",
        each_seed=True,
    ),
}


def horizons() -> dict[str, Experiment]:
    """Return the experiment that trains every core in short T-mazes and lets it walk through long ones."""
    lengths = {"10": 10, "100": 100, "1,000": 1000, "10,000": 10_000, "100,000": 100_000}
    return {
        "tmaze_horizon": Experiment(
            title="T-mazes far longer than those of the training",
            about="Trained in corridors of 1 to 10 steps (recipe `tmaze`, 400,000 steps), each core with the "
            "parameters it has by default; the share of right turns in 100 corridors of each length. One that is "
            "right in no more than 0.60 of them, as one that guesses would be, is not asked at longer ones, which "
            "count as that one.",
            recipe="tmaze",
            rows={core: {"core_kwargs": {}, "env_kwargs": {"length": [1, 10]}, "lessons": ()} for core in core_names()},
            tests={f"{head} steps": {"length": length} for head, length in lengths.items()},
            document="learning.md",
            curves="",
            each_seed=True,
            chance=0.6,
        ),
    }


def endless_tmazes() -> dict[str, Experiment]:
    """Return the experiments in which an old cue has to be written over by a new one."""
    cores = ("lstm", "gru", "ffm", "shm", "gtrxl", "dnc", "mingru", "deltanet")
    about = (
        "Recipe `endless_tmaze`, 2M steps of PPO, each core with the parameters it has by default; the share of 500 "
        "episodes without a wrong turn in any of ten corridors of {}."
    )
    return {
        f"endless_tmaze_{kind}": Experiment(
            title=f"An endless T-maze, {kind}",
            about=about.format(length),
            recipe="endless_tmaze",
            rows={
                core: {
                    "core_kwargs": {},
                    "env_kwargs": {"corridors": 10, "length": 10, "kind": kind},
                }
                for core in cores
            },
            tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
            episodes=500,
            document="worlds.md",
            curves="",
            each_seed=True,
        )
        for kind, length in (("fixed", "10 steps"), ("uniform", "1 to 10 steps, whose ends do not show"))
    }


def popgym() -> dict[str, Experiment]:
    """Return the experiment in the currency of the field: two easy, two medium and two hard ids of POPGym."""
    pole = {"gamma": 0.99, "gae_lambda": 0.95, "learning_rate": 1e-3, "ent_coef": 0.001}
    tasks: dict[str, tuple[str, dict[str, Any]]] = {  # the published score, and changes to the recipe
        "AutoencodeEasy": ("-0.283 (0.029)", {}),
        "CountRecallEasy": ("0.177 (0.005)", {}),
        "RepeatPreviousMedium": ("-0.315 (0.017)", {}),
        "NoisyPositionOnlyCartPoleMedium": ("0.642 (0.012)", pole),
        "RepeatFirstHard": ("0.940 (0.012)", {}),
        "HigherLowerHard": ("0.506 (0.001)", {}),
    }
    cores: dict[str, dict[str, Any]] = {
        "gru": {},
        "dnc": {"core_kwargs": SMALL_DNC},
        "lru": {"core_kwargs": {"width": 64, "state_size": 64, "layers": 2}},
    }
    published = ", ".join(f"{name} {score}" for name, (score, _) in tasks.items())
    of_pole = ", ".join(f"`{name}: {value}`" for name, value in pole.items())
    return {
        "popgym": Experiment(
            title="POPGym",
            about="Recipe `popgym`, 5M steps, one setting for all games of cards (`gamma: 0`), one for the cart-pole "
            f"({of_pole}); the mean return of 1,000 episodes after the training. Published for a GRU of 256 units are "
            "the largest mean returns on the way through 15M steps, and their deviations over three trials "
            f"(arXiv:2303.01859, table 3): {published}.",
            recipe="popgym",
            rows={
                f"{name}, {core}": {"core": core, "env": f"memenvs/popgym-{name}-v0", **changes, **row}
                for name, (_, changes) in tasks.items()
                for core, row in cores.items()
            },
            tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
            metric="return",
            episodes=1000,
            document="worlds.md",
            curves="",
        )
    }


def memory_planning() -> dict[str, Experiment]:
    """Return the experiment of goal after goal in a world whose order is new in every episode."""
    return {
        "memory_planning": Experiment(
            title="Memory&Planning",
            about="Recipe `memory_planning` (imitation, 2M steps), agents of some 150,000 weights; how many goals were "
            "reached in 100 steps of the game's own world of 16 places, in 500 episodes. Who knows the world from the "
            "beginning reaches 31.7, who remembers all that was seen 28.9, and who walks at random and takes every "
            "chance to collect 5.",
            recipe="memory_planning",
            rows={
                "gru": {},
                "lstm": {"core_kwargs": {"hidden_size": 175}},
                "mingru": {"core_kwargs": {"layers": 2, "hidden_size": 204}},
                "dnc": {"core_kwargs": {"slots": 64, "width": 32, "read_heads": 2, "controller_size": 120}},
                "gtrxl": {"core_kwargs": {"length": 100, "layers": 2, "width": 56}},
            },
            tests={"most likely actions": {}, "sampled actions": {"sampled": True}},
            metric="goals",
            episodes=500,
            document="worlds.md",
            curves="",
            each_seed=True,
        )
    }


def small_runs() -> dict[str, Experiment]:
    """Return the experiments that train every core of the catalogue on two small tasks."""
    return {
        "small_copy": Experiment(
            title="Every core: Copy, small",
            about="Share of sequences of 1 to 4 vectors of 4 bits copied without a wrong bit, after 300,000 steps of "
            "imitation, each core with the parameters it has by default.",
            recipe="copy",
            rows={
                core: {
                    "core_kwargs": {},
                    "env_kwargs": {"width": 4, "length": [1, 4]},
                    "n_steps": 22,
                    "learning_rate": 3e-3,
                    "total_timesteps": 300_000,
                }
                for core in core_names()
            },
            tests={"success": {"length": [1, 4]}},
            episodes=500,
            curves="",
        ),
        "small_tmaze": Experiment(
            title="Every core: T-maze",
            about="Share of right turns after a corridor of 3 steps, after 24,576 steps of PPO.",
            recipe="tmaze",
            rows={
                core: {"core_kwargs": {}, "env_kwargs": {"length": 3}, "lessons": (), "total_timesteps": 24_576}
                for core in core_names()
            },
            tests={"success": {}},
            episodes=500,
            curves="",
        ),
    }


def experiments() -> dict[str, Experiment]:
    """Return every experiment by its name."""
    return {
        **EXPERIMENTS,
        **endless_tmazes(),
        **popgym(),
        **memory_planning(),
        **dnc_paper(),
        **distillations(),
        **small_runs(),
        **horizons(),
    }
