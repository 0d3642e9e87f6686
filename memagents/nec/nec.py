"""Neural Episodic Control (Pritzel et al. 2017, algorithm 1), also over a memory within the episode."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule, LinearSchedule
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs
from torch import Tensor

from memagents.algorithms.algorithm import MemoryAlgorithm
from memagents.algorithms.causes import LARGEST
from memagents.algorithms.rollout import cut_episodes, cut_rows, observation_tensors
from memagents.checks import in_range, positive, positive_int, scheduled
from memagents.cores.core import State, draw_keys
from memagents.cores.none import Memoryless
from memagents.environments.adapted import numbers
from memagents.environments.guidance import decision_mask
from memagents.environments.vector import Env
from memagents.nec.dictionary import Lookup
from memagents.nec.policy import EpisodicPolicy
from memagents.nec.replay import EpisodeReplay, Replay
from memagents.nec.situations import situation_numbers
from memagents.nec.trail import Finished, Trail, cause_among
from memagents.policies.encoding import map_observations


class ReplayedSteps(NamedTuple):
    """M steps from the replay: keys (M, W), actions, returns and importance weights (M,); the core's own losses.

    ``columns`` (M,) tells of each which of ``rows`` it is of, the rows of the replay that were drawn.
    """

    keys: Tensor
    actions: Tensor
    returns: Tensor
    weights: Tensor
    losses: dict[str, Tensor]
    columns: np.ndarray
    rows: np.ndarray


class NEC(MemoryAlgorithm):
    """Episodic control: what was done in situations like this one, and what it brought.

    Every N-step return is written into the dictionary of its action, at once, and replayed: gradients of the squared
    error reach the encoder, and the keys and values of the neighbours. With a recurrent core the key is of the
    episode's history, whole episodes are replayed, and a time limit is an end like any other. Steps at which the action
    does not matter (``info["decision"]`` false) are neither written nor learned from.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"`` or ``"MultiInputPolicy"`` (one class serves all), or a policy class
    :param env: an SB3 VecEnv, a gymnasium VectorEnv or Env, the id of one, or None; actions Discrete
    :param learning_rate: of the encoder and the core; a number, or a function of the remaining progress (1 to 0)
    :param dictionary_learning_rate: of the keys and values, by plain stochastic gradient descent; likewise
    :param n_steps: N of the N-step returns, or None for returns of whole episodes
    :param buffer_size: steps that the replay holds
    :param learning_starts: environment steps before the first update
    :param batch_size: steps of an update
    :param batch_episodes: episodes among which they are, where the core is recurrent
    :param train_freq: steps of every environment between updates
    :param gradient_steps: updates each time
    :param exploration_fraction: share of the training over which the exploration falls, linearly
    :param exploration_initial_eps: probability ε of a random action at the beginning
    :param exploration_final_eps: what it falls to
    :param priority_exponent: α of prioritised replay (Schaul et al. 2016, equation 1); 0 for uniform replay
    :param importance_exponent: β of its importance weights
    :param max_grad_norm: the gradients of the weights, and those of the keys, are clipped to this norm
    :param kwargs: see :class:`memagents.algorithms.algorithm.MemoryAlgorithm`; an iteration is ``train_freq`` steps
    :raises ValueError: for a value that is not allowed, naming the argument
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = dict.fromkeys(
        ("MlpPolicy", "CnnPolicy", "MultiInputPolicy"), EpisodicPolicy
    )
    hyperparameters: ClassVar[tuple[str, ...]] = (
        *MemoryAlgorithm.hyperparameters,
        *("dictionary_learning_rate", "n_steps", "buffer_size", "learning_starts", "batch_size", "batch_episodes"),
        *("train_freq", "gradient_steps", "exploration_fraction", "exploration_initial_eps", "exploration_final_eps"),
        *("priority_exponent", "importance_exponent"),
    )
    policy: EpisodicPolicy

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        dictionary_learning_rate: float | Schedule = 0.01,
        n_steps: int | None = 100,
        buffer_size: int = 100_000,
        learning_starts: int = 1000,
        batch_size: int = 32,
        batch_episodes: int = 8,
        train_freq: int = 4,
        gradient_steps: int = 1,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.01,
        priority_exponent: float = 0.0,
        importance_exponent: float = 0.4,
        max_grad_norm: float = 10.0,
        checkpoint_interval: int = 5000,
        **kwargs: Any,
    ):
        rate = scheduled("dictionary_learning_rate", dictionary_learning_rate, positive)
        self.dictionary_learning_rate = rate
        self.n_steps = n_steps if n_steps is None else positive_int("n_steps", n_steps)
        self.buffer_size, self.batch_size = (
            positive_int("buffer_size", buffer_size),
            positive_int("batch_size", batch_size),
        )
        self.learning_starts = int(in_range("learning_starts", learning_starts, 0))
        self.batch_episodes = positive_int("batch_episodes", batch_episodes)
        self.train_freq = positive_int("train_freq", train_freq, most=1_000_000)
        self.gradient_steps = positive_int("gradient_steps", gradient_steps, most=1_000_000)
        self.exploration_fraction = in_range("exploration_fraction", exploration_fraction, 0, 1)
        self.exploration_initial_eps = in_range("exploration_initial_eps", exploration_initial_eps, 0, 1)
        self.exploration_final_eps = in_range("exploration_final_eps", exploration_final_eps, 0, 1)
        self.priority_exponent = in_range("priority_exponent", priority_exponent, 0, 1)
        self.importance_exponent = in_range("importance_exponent", importance_exponent, 0, 1)
        super().__init__(
            policy,
            env,
            learning_rate,
            max_grad_norm=max_grad_norm,
            checkpoint_interval=checkpoint_interval,
            **kwargs,
        )

    def _setup_model(self) -> None:
        if hasattr(self, "action_space") and not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(f"episodic control needs Discrete actions, not {type(self.action_space).__name__}")
        super()._setup_model()
        self.rng = np.random.default_rng(self.seed)
        self.replay = self.make_replay()
        if self.replay is not None and not any(p.requires_grad for p in self.policy.parameters()):
            raise ValueError(f"policy must have something to learn, unlike a {type(self.policy).__name__}")
        self._trails: list[Trail] = []
        self._histories = np.zeros(0, dtype=np.int64)  # numbers of the situations that the rows are in, (B,)

    def make_replay(self) -> Replay | EpisodeReplay | None:
        """Make the replay: of single steps, or of whole episodes where the core is recurrent."""
        kind = EpisodeReplay if self.recurrent else Replay
        return kind(self.buffer_size, self.observation_space, self.priority_exponent)

    @property
    def recurrent(self) -> bool:
        """Return whether a situation is the history of its episode, and not the observation alone."""
        return not isinstance(self.policy.core, Memoryless)

    @property
    def exploration_rate(self) -> float:
        """The present probability ε of a random action."""
        start, end = self.exploration_initial_eps, self.exploration_final_eps
        if self.exploration_fraction == 0:
            return end
        return LinearSchedule(start, end, self.exploration_fraction)(self._current_progress_remaining)

    # --- collecting -------------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 250,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn as :meth:`MemoryAlgorithm.learn` does.

        :param log_interval: iterations, of ``train_freq`` steps each, between two rows of the log
        """
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> tuple[int, BaseCallback]:
        result = super()._setup_learn(*args, **kwargs)
        if self._last_episode_starts.all() or len(self._trails) != self.n_envs:  # type: ignore[union-attr]
            self._forget_running_episodes()
        return result

    def begin_episodes(self) -> None:
        super().begin_episodes()
        self._forget_running_episodes()

    def _forget_running_episodes(self) -> None:
        self._trails = [self._new_trail() for _ in range(self.n_envs)]
        self._histories = np.zeros(self.n_envs, dtype=np.int64)

    def _new_trail(self) -> Trail:
        return Trail(self.n_steps, self.gamma, whole=self.recurrent)

    def collect(self, callback: BaseCallback) -> bool:
        """``train_freq`` steps in every environment; returns that become known are written and go into the replay."""
        env = self.env
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        for _ in range(self.train_freq):
            # As while learning, or what is dropped at random would differ; a callback may have called predict.
            self.policy.core.train()
            actions, new_obs, rewards, dones, infos = self._step()
            self.num_timesteps += self.n_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
        callback.on_rollout_end()
        return True

    def _step(self) -> tuple[np.ndarray, VecEnvObs, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Make one step of every environment, and learn what it makes known.

        :return: actions (B,), the new observations (B, ...), rewards (B,), ends (B,) and infos
        """
        observations, starts = self._last_obs, np.asarray(self._last_episode_starts)
        before = np.where(starts, 0, self._histories) if self.recurrent else None
        self._histories = situation_numbers(observations, self.observation_space, before)
        estimated = self.policy.estimate(
            observation_tensors(observations, self.device),
            self._state,
            torch.as_tensor(starts, device=self.device),
        )
        values, keys = estimated.values.cpu().numpy(), estimated.keys.cpu().numpy()
        # Any of the best where there are several: before the first reward, nothing is better than anything else.
        wanted = values == values.max(1, keepdims=True)
        explore = self.rng.random(self.n_envs) < self.exploration_rate
        actions = (self.rng.random(values.shape) * (wanted | explore[:, None])).argmax(1)
        for b, trail in enumerate(self._trails):
            trail.value(float(values[b].max()))
            one = map_observations(itemgetter(b), observations)
            trail.add(one, int(actions[b]), keys[b], int(self._histories[b]), bool(self._decisions[b]))  # type: ignore[index]
        done = self.policy.to_env_actions(torch.from_numpy(actions))
        new_obs, rewards, dones, infos = self.env.step(done)
        rewards = numbers(rewards, self.n_envs)
        finals = self._final_values(dones, infos, estimated.state)
        for b, trail in enumerate(self._trails):
            trail.reward(float(rewards[b]))
            if dones[b]:
                trail.end(finals[b])
        self._remember(dones)
        if dones.any():
            self._update_info_buffer([infos[i] for i in np.flatnonzero(dones)])
        self._last_obs = new_obs  # type: ignore[assignment]
        self._last_episode_starts, self._state = dones, estimated.state
        self._decisions = decision_mask(self.env, infos, dones)
        return done, new_obs, rewards, dones, infos

    def _final_values(self, dones: np.ndarray, infos: list[dict[str, Any]], state: State) -> list[float]:
        """max_a Q of the final observations (B,) of episodes that a time limit cut; 0 elsewhere.

        Also 0 over a recurrent core: no episode goes on from a history that is as long as the limit allows, so that
        what is guessed about it would never be corrected, but believed by all that leads there.
        """
        values = np.zeros(self.n_envs)
        if self.recurrent:
            return values.tolist()
        rows = cut_rows(dones, infos)
        if len(rows):
            cut = cut_episodes(0, rows, infos, state)
            observations = observation_tensors(cut.observations, self.device)
            going_on = torch.zeros(len(cut.rows), dtype=torch.bool, device=self.device)
            estimated = self.policy.estimate(observations, cut.state, going_on)
            values[cut.rows] = estimated.values.max(1).values.cpu().numpy()
        return values.tolist()

    def _remember(self, dones: np.ndarray) -> None:
        """Write and keep the steps whose return has become known."""
        for row, (trail, done) in enumerate(zip(self._trails, dones, strict=True)):
            steps, rewards = trail.steps, trail.rewards
            finished = trail.take()
            if finished is not None:
                wrong = self._write(finished)
                if wrong:
                    last = self.num_timesteps + self.n_envs
                    raise self.not_finite(wrong, cause_among(steps, rewards, row, last, self.n_envs))
            if done:
                if isinstance(self.replay, EpisodeReplay):
                    episode = trail.episode()
                    if len(episode.actions) > self.buffer_size:
                        raise ValueError(f"buffer_size must hold an episode, here of {len(episode.actions)} steps")
                    if episode.asked.any():
                        self.replay.add(episode.observations, episode.actions, episode.returns, episode.asked)
                trail.clear()

    def _write(self, finished: Finished) -> list[str]:
        """Write steps and keep them, unless something of them is not finite: what that is."""
        asked = finished.asked
        if not asked.any():
            return []
        actions, returns = finished.actions[asked], finished.returns[asked]
        keys, situations = finished.keys[asked], finished.situations[asked]
        wrong = [name for name, given in (("a return", returns), ("a key", keys)) if not np.isfinite(given).all()]
        if wrong:
            return wrong
        entries = (torch.from_numpy(values) for values in (keys, actions, returns, situations))
        self.policy.dictionary.write(*entries)
        if isinstance(self.replay, Replay):
            self.replay.add(map_observations(lambda values: values[asked], finished.observations), actions, returns)
        return []

    # --- learning ---------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """``gradient_steps`` updates from the replay."""
        self.logger.record("rollout/exploration_rate", self.exploration_rate)
        self.logger.record("train/entries", len(self.policy.dictionary))
        if not self.replay or self.num_timesteps < self.learning_starts:
            return
        log: dict[str, list[float]] = {"value_loss": [], "gradient_norm": []}
        for _ in range(self.gradient_steps):
            self._update(log)
            self._n_updates += 1
        self.record_means(log)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _update(self, log: dict[str, list[float]]) -> None:
        """One step down the squared error of the estimates: of the weights, the keys and the values."""
        replayed = self._replayed()
        lookup = self.policy.dictionary.lookup(replayed.keys, replayed.actions, learn=True)
        errors = lookup.values - replayed.returns
        losses = {"value_loss": (replayed.weights * errors.square()).mean(), **replayed.losses}
        log["gradient_norm"].append(self.step_optimizer(losses))
        log["value_loss"].append(losses["value_loss"].item())
        self._move_entries(lookup)
        sizes = errors.detach().abs().cpu().numpy()
        counts = np.bincount(replayed.columns, minlength=len(replayed.rows))
        sums = np.bincount(replayed.columns, sizes, minlength=len(replayed.rows))
        drawn = counts > 0
        assert self.replay is not None
        self.replay.update(replayed.rows[drawn], sums[drawn] / counts[drawn])

    def _replayed(self) -> ReplayedSteps:
        """Steps from the replay, with the keys that they have by now."""
        how = (self.rng, self.importance_exponent, self.device)
        if isinstance(self.replay, Replay):
            batch: Any = self.replay.sample(self.batch_size, *how)
            window = map_observations(lambda values: values[None], batch.observations)
            starts = torch.ones(1, self.batch_size, dtype=torch.bool, device=self.device)
            keys, _, losses = self.policy.keys(window, self._replay_state(self.batch_size), starts)
            asked, columns = starts, np.arange(self.batch_size)
            steps = (batch.actions, batch.returns, batch.weights)
        else:
            assert self.replay is not None
            batch = self.replay.sample(self.batch_episodes, self.batch_size, *how)
            state = self._replay_state(self.batch_episodes)
            keys, _, losses = self.policy.keys(batch.observations, state, batch.starts)
            asked, columns = batch.asked, batch.asked.nonzero()[:, 1].cpu().numpy()
            steps = (batch.actions[asked], batch.returns[asked], batch.weights.expand(asked.shape)[asked])
        own = {f"{name}_loss": loss[asked].mean() for name, loss in losses.items()}
        return ReplayedSteps(keys[asked], *steps, own, columns, batch.rows)

    def _replay_state(self, rows: int) -> State:
        """Return the state in which episodes begin, leaves (rows, ...), with random keys of its own."""
        return draw_keys(self.policy.initial_state(rows))

    def _move_entries(self, lookup: Lookup) -> None:
        torch.nn.utils.clip_grad_norm_([lookup.keys], self.max_grad_norm)
        rate = FloatSchedule(self.dictionary_learning_rate)(self._current_progress_remaining)
        self.policy.dictionary.descend(lookup, rate)

    def visible_cause(self) -> str:
        largest = 0.0 if self.replay is None else self.replay.largest_return
        return f"the largest return in the replay is {largest:g}" if largest > LARGEST else ""

    # --- files ------------------------------------------------------------------------------------------------------

    def own_state(self) -> dict[str, Any]:
        return {
            "replay": None if self.replay is None else self.replay.tree(),
            "trails": [trail.tree() for trail in self._trails],
            "histories": self._histories,
            "rng": self.rng.bit_generator.state,
        }

    def restore_own_state(self, tree: dict[str, Any]) -> None:
        if self.replay is not None:
            self.replay.restore(tree["replay"])
        self._trails = [self._new_trail() for _ in tree["trails"]]  # none, if it was saved before it learned
        for trail, saved in zip(self._trails, tree["trails"], strict=True):
            trail.restore(saved)
        self._histories = tree["histories"]
        self.rng.bit_generator.state = tree["rng"]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, Any]:
        """Actions for observations; random ones with probability ε unless ``deterministic``, as of SB3's DQN."""
        actions, state = self.policy.predict(observation, state, episode_start, deterministic)
        if not deterministic:
            # By torch's generator, not the agent's own: an evaluation must not change the training around it.
            explore = torch.rand(np.shape(actions)) < self.exploration_rate
            explored = self.policy.to_env_actions(torch.randint(self.policy.dictionary.n_actions, np.shape(actions)))
            actions = np.where(explore.numpy(), explored, actions)
        return actions, state
