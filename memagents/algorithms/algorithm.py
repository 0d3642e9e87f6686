"""Base of all agents: the learning loop, logs, run folders, exact resume.

An agent subclasses :class:`MemoryAlgorithm` and defines ``collect`` (some steps of the environments) and ``train``
(what is learned after them), in turn. Those that learn from windows begin with
:class:`memagents.algorithms.window_algorithm.WindowAlgorithm`.
"""

from __future__ import annotations

import inspect
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.common.vec_env import VecEnv, VecTransposeImage, is_vecenv_wrapped

from memagents import ranks
from memagents.algorithms import sb3_names
from memagents.algorithms.descent import Descent
from memagents.algorithms.policy_arguments import check_names, unset, with_classes
from memagents.checks import (
    boolean,
    device_name,
    folder_path,
    in_range,
    natural_int,
    positive,
    positive_int,
    scheduled,
    seed_int,
    step_count,
    string_keyed,
)
from memagents.cores.core import State, draw_keys
from memagents.environments.conditioning import check_conditions
from memagents.environments.guidance import decision_mask
from memagents.environments.make import make_env
from memagents.environments.vector import Env, as_vec_env
from memagents.environments.workers import named_ends
from memagents.policies.core_policy import CorePolicy
from memagents.policies.encoding import is_picture
from memagents.policies.tracing import trace
from memagents.runs.lock import training_in
from memagents.runs.progress import ProgressBar, end_events, run_logger


class MemoryAlgorithm(Descent):
    """The base of the agents; spaces, devices, callbacks, logger and schedules are SB3's.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"`` or ``"MultiInputPolicy"`` (one class serves all), or a policy class
    :param env: an SB3 VecEnv, a gymnasium VectorEnv or Env, the id of one, or None
    :param learning_rate: a number, or a function of the remaining progress (1 to 0)
    :param memory_learning_rate: the same for the parameters of the memory; by default ``learning_rate``
    :param gamma: discount
    :param max_grad_norm: the gradient's norm is clipped to it
    :param condition_on: ``"action"`` and/or ``"reward"``: what of the previous step the agent also sees
    :param run_dir: folder for logs and checkpoints, or None; one with nothing in it of another agent
    :param checkpoint_interval: iterations between two checkpoints in ``run_dir``; ``learn`` ends with one, and leaves
        one after its first iteration
    :param checkpoint_minutes: minutes after which there is one in any case
    :param keep_last: checkpoints to keep in ``run_dir/kept``, each a run folder named after its step
    :param keep_best: whether to keep the checkpoint with the highest mean return (of the last ``stats_window_size``
        episodes of the training, of a curriculum's present lesson) in ``run_dir/best``
    :param policy_kwargs: parameters of the policy, among them ``core`` and ``core_kwargs``
    :param stats_window_size: episodes over which the logged means are taken
    :param tensorboard_log: folder for TensorBoard where there is no ``run_dir``
    :param verbose: 0 silent, 1 informative
    :param seed: of everything random
    :param device: ``"auto"``, ``"cpu"``, ``"cuda"``, …
    :raises ValueError: for a value that is not allowed, naming the argument
    """

    # The constructor's arguments that are saved with a policy.
    hyperparameters: ClassVar[tuple[str, ...]] = (
        *("learning_rate", "memory_learning_rate", "gamma", "max_grad_norm", "condition_on"),
        *("checkpoint_interval", "checkpoint_minutes", "keep_last", "keep_best"),
        *("stats_window_size", "tensorboard_log", "verbose", "seed"),
    )
    reports_accuracy: ClassVar[bool] = False  # whether ``recent_accuracies`` is filled
    policy: CorePolicy
    env: VecEnv

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Env | str | None,
        learning_rate: float | Schedule = 3e-4,
        *,
        memory_learning_rate: float | Schedule | None = None,
        gamma: float = 0.99,
        max_grad_norm: float = 0.5,
        condition_on: Sequence[str] = (),
        run_dir: str | Path | None = None,
        checkpoint_interval: int = 50,
        checkpoint_minutes: float = 10,
        keep_last: int = 0,
        keep_best: bool = False,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | Path | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        **unknown: Any,
    ):
        if unknown:
            sb3_names.check_arguments(type(self).__name__, unknown)
            sb3_names.refuse_argument(type(self), next(iter(unknown)))
        device, policy_kwargs = device_name(device), string_keyed("policy_kwargs", policy_kwargs)
        if isinstance(env, str):
            env = make_env(env)
        # By its class: SB3 refuses the alias MlpPolicy for the Dict that condition_on makes of an observation.
        policy_class = policy if callable(policy) else self._get_policy_from_name(policy)
        # An agent of a file has what the file says.
        usual = {name: self.policy_defaults[name] for name in unset(policy_class, self.policy_defaults)}
        usual = usual if _init_setup_model else {}
        self._usual = usual.keys() - policy_kwargs.keys()  # parameters that nobody asked for
        if policy == "CnnPolicy":
            usual["encoder"] = "cnn"
        self.condition_on = check_conditions(condition_on)
        self.checkpoint_interval = positive_int("checkpoint_interval", checkpoint_interval)
        self.checkpoint_minutes = positive("checkpoint_minutes", checkpoint_minutes)
        self.keep_last = natural_int("keep_last", keep_last)
        self.keep_best = boolean("keep_best", keep_best)
        self.gamma = in_range("gamma", gamma, 0, 1)
        self.max_grad_norm = in_range("max_grad_norm", max_grad_norm, 0)
        scheduled("learning_rate", learning_rate, positive)
        if memory_learning_rate is not None:
            scheduled("memory_learning_rate", memory_learning_rate, positive)
        self.memory_learning_rate = memory_learning_rate
        # Of processes that learn together the first one writes, for all of them.
        self.run_dir = None if run_dir is None or ranks.rank() else folder_path("run_dir", run_dir)
        self.stats_window_size = positive_int("stats_window_size", stats_window_size)
        self.iteration = 0
        self.lesson = 0  # of the curriculum, where there is one
        self.recent_accuracies: deque[float] = deque(maxlen=10)  # how often the oracle was imitated, window by window
        self._stopping = False
        self._state: State = None  # type: ignore[assignment]  # of the core, before the observation that comes next
        self._decisions: np.ndarray | None = None  # whether the action for that observation matters, (B,)
        super().__init__(
            policy_class,
            env,  # type: ignore[arg-type]
            learning_rate,
            policy_kwargs=with_classes({**usual, **policy_kwargs}),
            stats_window_size=stats_window_size,
            tensorboard_log=None if tensorboard_log is None or ranks.rank() else str(tensorboard_log),
            verbose=0 if ranks.rank() else natural_int("verbose", int(verbose) if verbose is True else verbose),
            device=device,
            support_multi_env=True,
            seed=None if seed is None else seed_int("seed", seed),
        )
        if _init_setup_model:
            self._setup_model()

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if policy_name not in self.policy_aliases:
            known = f"; instead of it: {sb3_names.POLICIES[policy_name]}" if policy_name in sb3_names.POLICIES else ""
            names = ", ".join(self.policy_aliases)
            raise ValueError(f"policy must be one of {names} or a class, not {policy_name!r}{known}")
        return self.policy_aliases[policy_name]

    def _wrap_env(self, env: Env, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:  # type: ignore[override]
        """Any environment as a VecEnv with this agent's conditioning; pictures channels first, symbols left alone."""
        env = as_vec_env(env)
        space = env.observation_space
        entries = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
        images = [entry for entry in entries if isinstance(entry, spaces.Box) and is_image_space(entry)]
        # All or none: the wrapper takes every image for one whose channels come last. Encoders take either order.
        transpose = bool(images) and all(is_picture(i) and not is_image_space_channels_first(i) for i in images)
        if transpose and not is_vecenv_wrapped(env, VecTransposeImage):
            env = VecTransposeImage(env)
        return as_vec_env(env, self.condition_on)

    def _setup_model(self) -> None:
        """Create the policy and its optimiser."""
        if not hasattr(self, "action_space"):
            raise ValueError("env must be an environment, or the id of one: without it the spaces are not known")
        if not isinstance(self.action_space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            raise ValueError(
                f"actions must be Box, Discrete, MultiDiscrete or MultiBinary, not {type(self.action_space).__name__}"
            )
        self._setup_lr_schedule()
        memory_rate = self.learning_rate if self.memory_learning_rate is None else self.memory_learning_rate
        self.memory_lr_schedule = FloatSchedule(memory_rate)
        self.set_random_seed(self.seed)
        check_names(self.policy_class, self.policy_kwargs)
        self.policy = self._make_policy().to(self.device)

    def _make_policy(self) -> Any:
        """Make the policy; one of ``**kwargs`` that passes no usual parameter on, or its own one, goes without it."""
        made_for = self.observation_space, self.action_space, self.lr_schedule
        try:
            return self.policy_class(*made_for, **self.policy_kwargs)
        except (TypeError, ValueError):
            hidden = self._usual - inspect.signature(self.policy_class).parameters.keys()
            if not hidden:
                raise
        self.policy_kwargs = {name: value for name, value in self.policy_kwargs.items() if name not in hidden}
        self._usual -= hidden
        self.set_random_seed(self.seed)
        return self.policy_class(*made_for, **self.policy_kwargs)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Collect and train until ``total_timesteps`` environment steps have been made; leave a checkpoint.

        :param total_timesteps: a lower bound: the last window is finished
        :param callback: SB3 callbacks, called at every step of the environments
        :param log_interval: iterations (of ``collect`` and ``train``) between two rows of the log, None for none
        :param tb_log_name: name of the TensorBoard run
        :param reset_num_timesteps: false to go on counting; ``learn(model.remaining_timesteps,
            reset_num_timesteps=False)`` goes on with a resumed run
        :param progress_bar: show the progress, the recent return and success
        :return: the agent
        :raises FloatingPointError: if a loss is not finite; the last checkpoint is kept, the weights are those before
        :raises ValueError: if that is no number of steps, or in ``run_dir`` another training runs or another agent lies
        :raises ConnectionError: if the process of an environment ends; the others are ended, too
        :raises TypeError: if there is a ``run_dir`` and a hyperparameter that cannot be saved
        """
        total_timesteps = step_count("total_timesteps", total_timesteps)
        if ranks.rank():  # the processes may have met after the agent was made
            self.run_dir, self.tensorboard_log, self.verbose = None, None, 0
        with training_in(self.run_dir):
            if self.run_dir is not None:
                self.train_in(self.run_dir)
            with named_ends(lambda: self.env):
                total_timesteps, callback = self._setup_learn(
                    total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
                )
            self._stopping, self.saved_at = False, time.monotonic()
            saved = -1  # at this step
            callback.on_training_start(locals(), globals())
            try:
                while self.num_timesteps < total_timesteps and not self._stopping:
                    with named_ends(lambda: self.env):  # a callback may have set others
                        if not self.collect(callback):
                            break
                    self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
                    self._set_learning_rates()
                    self.policy.set_training_mode(True)
                    self.train()
                    self.iteration += 1
                    if log_interval and self.iteration % log_interval == 0:
                        self.dump_logs()
                    self._stopping = ranks.anywhere(self._stopping)
                    if ranks.anywhere(self.run_dir is not None and self._is_due()):
                        with self.parts_of_others():
                            saved = self.save_or_warn()
            finally:
                callback.on_training_end()
                if not self._custom_logger:
                    end_events(self.logger)
            if ranks.anywhere(self.run_dir is not None and saved != self.num_timesteps):
                with self.parts_of_others():
                    self.save_last()
        return self

    def _is_due(self) -> bool:
        """Return whether this iteration ends with a checkpoint; the first one does, lest a crash leave nothing."""
        if self.iteration == 1 or self.iteration % self.checkpoint_interval == 0:
            return True
        return time.monotonic() - self.saved_at >= 60 * self.checkpoint_minutes

    def collect(self, callback: BaseCallback) -> bool:
        """Make some steps in every environment.

        :return: false if a callback asked to stop
        """
        raise NotImplementedError

    def train(self) -> None:
        """Learn from what was collected."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let ``learn`` return when it has learned from the present window; a run saved then can be resumed exactly."""
        self._stopping = True

    def begin_episodes(self) -> None:
        """Reset the environments and the memory; for a callback that has called ``set_env`` at the end of a window."""
        self.episodes_here = 0
        self._last_obs = self.env.reset()  # type: ignore[assignment]
        self._last_episode_starts = np.ones(self.n_envs, dtype=bool)
        self.memory_state()  # nothing of the episodes before is left to be done
        self._state = self._fresh_state()
        self._decisions = decision_mask(self.env, None, None)

    @torch.no_grad()
    def _fresh_state(self) -> State:
        """The memory as episodes begin, with random keys of its own in every row; a learned beginning is not traced."""
        return draw_keys(self.policy.initial_state(self.n_envs))

    @property
    def remaining_timesteps(self) -> int:
        """Number of steps that the last ``learn``, or after ``resume`` the interrupted run, has still to make."""
        return max(0, self._total_timesteps - self.num_timesteps)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if self.env is None:
            raise ValueError("env: there is no environment to learn in; give one to the constructor, load or set_env")
        self.join_ranks()
        self.check_schedules()
        if self.run_dir is not None:
            self.description()  # what cannot be saved is better known now than at the first checkpoint
        fresh = reset_num_timesteps or self._last_obs is None
        events = self.tensorboard_log
        self.tensorboard_log = None if self.run_dir is not None else events  # a run folder has its own
        result = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        self.tensorboard_log = events
        if self.run_dir is not None and not self._custom_logger:
            self._logger = run_logger(self.run_dir, self.verbose, after=self.num_timesteps)
        if self._total_timesteps > 0:
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
        if reset_num_timesteps:
            self.iteration = 0
        if fresh:
            self._state = self._fresh_state()
            self._decisions = decision_mask(self.env, None, None)
        return result

    def _init_callback(self, callback: MaybeCallback, progress_bar: bool = False) -> BaseCallback:
        callback = super()._init_callback(callback, progress_bar=False)
        if progress_bar:
            callback = CallbackList([callback, ProgressBar()])
            callback.init_callback(self)
        return callback

    # --- the optimiser ----------------------------------------------------------------------------------------------

    def trace(self, observations: Any, starts: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Look into the memory while it sees a sequence: the plain loop is run, with every tensor that the core names.

        :param observations: (T, B, ...), or a dict of these, as the environment gives them
        :param starts: (T, B) booleans, true where an observation begins an episode; by default the first ones alone
        :return: ``outputs`` (T, B, O) and whatever the core traces, such as ``read_weights`` (T, B, heads, slots)
        :raises ValueError: for other shapes
        """
        return trace(self.policy, observations, starts)
