"""Recording episodes: what an agent saw, did and expected, and what its memory did meanwhile."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from torch import Tensor

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.checks import positive_int
from memagents.cores.core import State, advance_keys, map_state, restart_state, select_rows, state_leaves
from memagents.environments.guidance import decision_mask
from memagents.experiments.evaluation import evaluate, monitored, quotas
from memagents.inspection.axes import axes_of, named
from memagents.inspection.recording import (
    DESCRIPTION_FILE,
    OBSERVATION,
    STATE,
    TRACE,
    Piece,
    Recording,
    window_file,
    write_window,
)
from memagents.inspection.replay import estimates, replay
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import Observations, map_observations, stack_steps
from memagents.runs import files

WINDOW = 128  # steps between two visits of the disk
REPLAY_TOLERANCE = 1e-3  # of outputs: beyond it a replay has left the path of what acted, and begins anew from there


class Told(NamedTuple):
    """What is told of an episode that was recorded: where it is, the sum of its rewards, plain values of its end."""

    pieces: list[Piece]
    total: float
    info: dict[str, Any]

    def described(self) -> dict[str, Any]:
        """Return its entry in the description of the recording."""
        length = sum(piece.steps for piece in self.pieces)
        return {"length": length, "return": self.total, "info": self.info, "pieces": self.pieces}


class Cut(NamedTuple):
    """Piece of an episode in the present window: its row, its steps, and whether the episode begins with it."""

    row: int
    begin: int
    end: int
    first: bool


def record(
    agent: MemoryAlgorithm,
    folder: str | Path,
    episodes: int = 3,
    *,
    deterministic: bool = True,
    seed: int | None = 0,
    trace: bool = True,
    states: bool = False,
    texts: bool = False,
    overwrite: bool = False,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Recording:
    """Play episodes and write them to a folder, window by window: long ones need no more memory than short ones.

    Arrays of each step, beside ``actions``, ``rewards`` and ``decisions`` (whether the action mattered):
    ``observation``, or ``observation.NAME`` of each entry; what the policy makes of it, see
    :func:`memagents.inspection.replay.estimates`; the memory's ``outputs``; and ``trace.NAME``, all that the core shows
    of its inside, which a replay by the plain loop gives and the fused kernels do not. Pictures are taken where the
    environment was made with ``render_mode="rgb_array"``.

    :param agent: with an environment, whose rows all take part; it is reset
    :param folder: of the recording
    :param episodes: how many; each row plays the first ``episodes / B`` of its own, the last rows one more where that
        is no whole number
    :param deterministic: the most likely actions instead of sampled ones
    :param seed: of the environments and of sampled actions; None goes on from where they are
    :param trace: whether the memory's inside is recorded
    :param states: whether the whole state before each step is recorded, as ``state.0``, ``state.1``, …: what ablations
        and forks of this recording begin from. It needs a trace, and much room
    :param texts: whether what the environments say of themselves at each step is recorded, as those of memenvs do
    :param overwrite: whether a recording that is there may be replaced
    :param about: plain values to keep with it, such as the environment's id
    :param progress: called with the number of episodes that have just ended
    :raises ValueError: if the agent has no environment or is none of memagents, or the folder holds anything
    """
    if not isinstance(agent, MemoryAlgorithm):
        raise ValueError(f"agent must be one of memagents, such as load_agent(folder, env), not {type(agent).__name__}")
    if agent.env is None:
        raise ValueError("agent must have an environment to play in: load_agent(folder, env)")
    positive_int("episodes", episodes)
    if states and not trace:
        raise ValueError("states needs trace: they are found by the replay that the trace is from")
    folder = _prepared(Path(folder), overwrite)
    tape = Tape(monitored(agent.env), agent.policy, folder, episodes, trace, texts, states)
    agent.policy.set_training_mode(False)
    evaluate(tape, tape, episodes, deterministic, seed, progress)
    description = {
        "format": files.FORMAT_VERSION,
        "algorithm": type(agent).__name__,
        "core": named(agent.policy.core),
        "about": dict(about or {}),
        "deterministic": deterministic,
        "seed": seed,
        "episodes": [told.described() for told in tape.told],
        "axes": tape.axes,
        "replay_error": tape.replay_error,
    }
    files.write_json(folder / DESCRIPTION_FILE, description)
    return Recording.open(folder)


def _prepared(folder: Path, overwrite: bool) -> Path:
    """Make the folder of a recording, empty.

    :raises ValueError: if there is something in it that may not be replaced
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        recorded = any((folder / name).is_file() for name in (DESCRIPTION_FILE, window_file(0)))
        if not (overwrite and recorded):
            ask = "overwrite=True replaces it" if recorded else "it is no recording, so it stays"
            raise ValueError(f"folder {folder} exists; {ask}")
        (folder / DESCRIPTION_FILE).unlink(missing_ok=True)  # first: what is left of it is no whole recording
        for old in folder.glob(window_file(None)):
            old.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Tape(VecEnvWrapper):
    """Environments and an agent at once, between which everything is noted that passes.

    :param env: the environments, B rows
    :param policy: which acts in them
    :param folder: where windows go
    :param episodes: how many are kept
    :param trace: whether the memory's inside is noted
    :param texts: whether what the environments say of themselves is
    :param states: whether the state before each step is
    """

    def __init__(
        self,
        env: VecEnv,
        policy: CorePolicy,
        folder: Path,
        episodes: int,
        trace: bool,
        texts: bool = False,
        states: bool = False,
    ):
        super().__init__(env)
        self.policy, self.folder, self.trace, self.states = policy, folder, trace, states
        self.told: list[Told] = []
        self.axes: dict[str, tuple[str, ...]] = {}  # of the trace's tensors
        self.replay_error: float | None = None  # the largest difference between outputs acted by and replayed
        self._wanted = quotas(episodes, env.num_envs)  # episodes that rows have still to end
        self._episode = [-1] * env.num_envs  # the present one of each row; -1 where none is begun
        self._window = 0  # number of the present one
        self._films = env.render_mode == "rgb_array"
        self._tells = texts and env.has_attr("texts")
        self._state: State = ()  # before the first step of the window
        self._plain_state: State | None = None  # the same, as the replay left it
        self._seen: list[tuple[Observations, Tensor, Tensor, Tensor]] = []  # observations, starts, actions, outputs
        self._decision = np.ones(env.num_envs, dtype=bool)  # whether the action for the last observation matters
        self._came: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # rewards, ends, decisions
        self._pictures: list[list[bytes]] = []
        self._texts: list[list[str]] = []
        self._infos: dict[tuple[int, int], dict[str, Any]] = {}  # of ends, by step of the window and row

    # --- as an agent ------------------------------------------------------------------------------------------------

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Act as the policy does, and note it."""
        policy = self.policy
        observations, _ = policy.obs_to_tensor(observation)
        starts = torch.as_tensor(np.asarray(episode_start, dtype=bool), device=policy.device)
        state = policy.initial_state(self.num_envs) if state is None else state
        if not self._seen:
            # Slots that are alike may change places between the kernels and the plain loop, whose own state goes on.
            self._state = map_state(torch.clone, state if self._plain_state is None else self._plain_state)
        with torch.no_grad():
            acted = policy(observations, state, starts, deterministic)
        kept = map_observations(torch.clone, observations)  # the environment may use its arrays again
        self._seen.append((kept, starts.clone(), acted.actions.clone(), acted.outputs.clone()))
        if self._films:
            self._pictures.append([_png(image) for image in self.venv.get_images()])
        if self._tells:
            self._texts.append(self.venv.env_method("texts"))
        return policy.to_env_actions(acted.actions), acted.state

    # --- as an environment ------------------------------------------------------------------------------------------

    def reset(self) -> VecEnvObs:
        observations = self.venv.reset()
        self._decision = decision_mask(self.venv, None, None).copy()  # the environment may use it again
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, ends, infos = self.venv.step_wait()
        for row in np.flatnonzero(ends).tolist():
            self._infos[len(self._came), row] = infos[row]
        self._came.append((rewards.copy(), ends.copy(), self._decision))
        self._decision = decision_mask(self.venv, infos, ends).copy()
        ended = np.bincount([row for _, row in self._infos], minlength=self.num_envs)
        if len(self._came) == WINDOW or (ended >= self._wanted).all():
            self._flush()
        return observations, rewards, ends, infos

    def _flush(self) -> None:
        """Write the window, and begin another."""
        observations = stack_steps([seen for seen, *_ in self._seen])
        starts, actions, outputs = map(torch.stack, zip(*(noted[1:] for noted in self._seen), strict=True))
        noted = {"actions": actions, "outputs": outputs, **estimates(self.policy, observations, outputs, actions)}
        if self.trace:
            again = replay(self.policy, observations, self._state, starts, self.states)
            noted |= {f"{STATE}.{number}": leaf for number, leaf in enumerate(again.states)}
            noted |= {f"{TRACE}.{name}": values for name, values in again.trace.items()}
            self.axes = axes_of(self.policy.core, again.trace)
            error = float((again.outputs - outputs).abs().max())
            self.replay_error = max(error, self.replay_error or 0.0)
            self._plain_state = again.state if error < REPLAY_TOLERANCE else None
        entries = observations if isinstance(observations, dict) else {"": observations}
        noted |= {f"{OBSERVATION}.{name}" if name else OBSERVATION: values for name, values in entries.items()}
        arrays = {name: values.cpu().numpy() for name, values in noted.items()}
        arrays["rewards"], ends, arrays["decisions"] = map(np.stack, zip(*self._came, strict=True))
        self._write(arrays, self._cut(ends))
        self._window += 1
        self._seen, self._came, self._pictures, self._texts, self._infos = [], [], [], [], {}

    def _cut(self, ends: np.ndarray) -> list[Cut]:
        """Cut the window into the pieces of the episodes that are kept, and tell of these.

        :param ends: of episodes, (T, B) booleans
        """
        cuts: list[Cut] = []
        place = 0
        for row in np.flatnonzero(self._wanted > 0).tolist():
            begin = 0
            for end in [*(np.flatnonzero(ends[:, row]) + 1).tolist(), len(ends)]:
                if begin == end or not self._wanted[row]:
                    break
                first = self._episode[row] < 0
                if first:
                    self._episode[row] = len(self.told)
                    self.told.append(Told([], 0.0, {}))
                self.told[self._episode[row]].pieces.append(Piece(self._window, len(cuts), place, end - begin))
                cuts.append(Cut(row, begin, end, first))
                if ends[end - 1, row]:
                    self._tell_end(row, self._infos[end - 1, row])
                place += end - begin
                begin = end
        return cuts

    def _write(self, arrays: dict[str, np.ndarray], cuts: list[Cut]) -> None:
        """Write the pieces of a window whose arrays are (T, B, ...)."""
        steps = np.concatenate([np.arange(cut.begin, cut.end) for cut in cuts])
        rows = np.repeat([cut.row for cut in cuts], [cut.end - cut.begin for cut in cuts])
        kept = {name: values[steps, rows] for name, values in arrays.items()}
        pictures = [[at_once[cut.row] for at_once in self._pictures[cut.begin : cut.end]] for cut in cuts]
        texts = [[at_once[cut.row] for at_once in self._texts[cut.begin : cut.end]] for cut in cuts]
        write_window(self.folder, self._window, kept, self._states_before(cuts), pictures, texts)

    def _states_before(self, cuts: list[Cut]) -> list[Tensor]:
        """Return the states before pieces, leaves (P, ...); where an episode begins, random keys go on."""
        now = select_rows(self._state, [cut.row for cut in cuts])
        begins = torch.tensor([cut.begin for cut in cuts], device=self.policy.device)
        firsts = torch.tensor([cut.first for cut in cuts], device=self.policy.device)
        begun = restart_state(firsts, self.policy.initial_state(len(cuts)), advance_keys(now, begins))
        return [leaf.cpu() for leaf in state_leaves(begun)]

    def _tell_end(self, row: int, info: dict[str, Any]) -> None:
        """Note the end of a row's episode."""
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in info.items()}
        plain = {name: value for name, value in plain.items() if isinstance(value, bool | int | float | str)}
        finite = {name: value for name, value in plain.items() if not isinstance(value, float) or np.isfinite(value)}
        number = self._episode[row]
        self.told[number] = self.told[number]._replace(total=float(info["episode"]["r"]), info=finite)
        self._episode[row] = -1
        self._wanted[row] -= 1


def _png(image: np.ndarray | None) -> bytes:
    """Return a picture (H, W, 3) as a PNG file.

    :raises ValueError: if there is no picture
    """
    if image is None:
        raise ValueError("the environment gives no picture, although its render_mode is rgb_array")
    file = io.BytesIO()
    Image.fromarray(np.asarray(image, dtype=np.uint8)).save(file, format="PNG", compress_level=6)
    return file.getvalue()
