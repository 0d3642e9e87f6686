"""Settings of trainings; :mod:`memagents.experiments.configuration` reads them from command lines, recipes and runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import tyro

from memagents.checks import positive, seed_int
from memagents.experiments.options import Pairs

if TYPE_CHECKING:
    from stable_baselines3.common.type_aliases import Schedule


@dataclass(frozen=True)
class Lesson:
    """Step of a curriculum, or one of several tasks that are learned one after another.

    A lesson ends when everything it asks for is reached. Only the last may ask for nothing, and lasts until the end.

    :param env_kwargs: parameters of the environment, on top of the run's
    :param success: success rate wanted over the last episodes
    :param accuracy: agreement with the oracle wanted over the last windows; for imitation, where success is in part
        the oracle's own
    :param until: environment steps of the run, counted from its beginning, that are wanted
    :param env: id of another environment, of the same spaces, to which the run's ``env_kwargs`` do not apply
    """

    env_kwargs: dict[str, Any]
    success: float | None = None
    accuracy: float | None = None
    until: int | None = None
    env: str | None = None

    @property
    def asks(self) -> bool:
        """Whether it asks for anything."""
        return not (self.success is self.accuracy is self.until is None)


def packages_of(*names: Any) -> tuple[str, ...]:
    """Return the packages that names such as ``"package:Id"`` are of, also of those in dicts and lists."""
    found: list[str] = []
    for name in names:
        if isinstance(name, dict | list | tuple):
            found += packages_of(*(name.values() if isinstance(name, dict) else name))
        elif isinstance(name, str) and ":" in name:
            found.append(name.partition(":")[0])
    return tuple(dict.fromkeys(found))


@dataclass(kw_only=True)
class TrainSettings:
    """Settings shared by all trainings.

    :param env: id of an environment of memenvs or Gymnasium; "package:Id" imports the package that registers it
    :param env_kwargs: its parameters, as key=value with values in YAML (--env-kwargs length=5 'stations=[4, 6]') or as
        one YAML mapping (--env-kwargs '{length: 5}'); they add to those of the recipe. Where an environment has splits,
        training is on split=train unless another is given
    :param n_envs: environments that run side by side
    :param condition_on: what the agent sees of the previous step beside the observation
    :param policy_kwargs: further parameters of the policy, such as net_arch=[64], written like --env-kwargs
    :param recipe: settings to start from: a name (memagents list recipes) or the path of a YAML file; the command line
        overrides it
    :param init_from: run folder whose weights the agent starts with
    :param resume: interrupted run to go on with, exactly; beside it only --device and --imports may be given
    :param total_timesteps: environment steps to learn from
    :param gamma: discount factor
    :param seed: seed of everything random
    :param device: auto, cpu, cuda or cuda:N
    :param threads: threads of torch; by default one for each core (or OMP_NUM_THREADS)
    :param run_dir: folder of the run; by default a new one in runs, named after environment, agent and seed
    :param overwrite: replace the run that is in --run-dir
    :param checkpoint_interval: iterations between checkpoints (an iteration is a window; in episodic control,
        --train-freq steps)
    :param checkpoint_minutes: minutes after which there is a checkpoint in any case
    :param keep_last: checkpoints to keep beside the last one, each a run folder in kept in the run's
    :param keep_best: keep the checkpoint with the highest mean return of its last 100 episodes in best in the run's
    :param normalize_observations: scale observations (Box, pictures apart) to mean 0 and variance 1 by running
        statistics, which are saved with the run and frozen in evaluations
    :param normalize_reward: scale rewards by the running standard deviation of the return
    :param eval_episodes: episodes of the final evaluation, on split=test where there is one; 0 for none
    :param imports: packages to import first, for the cores and environments they register
    :param review: share of the environments that stay with earlier lessons
    :param lessons: curriculum; in recipes only
    :param lesson_episodes: episodes of each lesson's task that are played as a lesson ends, to see what was forgotten;
        0 for none
    """

    common: ClassVar[tuple[str, ...]] = (
        *("env", "env_kwargs", "recipe", "total_timesteps", "n_envs", "seed", "device", "run_dir", "resume"),
    )  # what ``--help`` shows first
    algorithm: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = (
        *("gamma", "condition_on", "checkpoint_interval", "checkpoint_minutes", "keep_last", "keep_best"),
        *("seed", "device"),
    )

    env: str = "memenvs/TMaze-v0"
    env_kwargs: Pairs = field(default_factory=dict)
    n_envs: int = 64
    condition_on: tuple[Literal["action", "reward"], ...] = ()
    policy_kwargs: Pairs = field(default_factory=dict)
    recipe: str | None = None
    init_from: str | None = None
    resume: str | None = None
    total_timesteps: int = 1_000_000
    gamma: float = 0.99
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    run_dir: str | None = None
    overwrite: bool = False
    checkpoint_interval: int = 50
    checkpoint_minutes: float = 10
    keep_last: int = 0
    keep_best: bool = False
    normalize_observations: bool = False
    normalize_reward: bool = False
    eval_episodes: int = 500
    imports: tuple[str, ...] = ()
    review: float = 0.0
    lesson_episodes: int = 0
    lessons: tyro.conf.Suppress[tuple[Lesson, ...]] = ()

    def __post_init__(self) -> None:
        for name, low in (("total_timesteps", 1), ("eval_episodes", 0), ("lesson_episodes", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")
        seed_int("seed", self.seed)
        if not 0 <= self.review < 1:
            raise ValueError(f"review must be a share in [0, 1), not {self.review}")

    def task(self, lesson: Lesson | None = None) -> tuple[str, dict[str, Any]]:
        """Return the environment's id and parameters in a lesson, by default the last."""
        if lesson is None:
            lesson = self.lessons[-1] if self.lessons else Lesson({})
        if lesson.env is not None:
            return lesson.env, dict(lesson.env_kwargs)
        return self.env, {**self.env_kwargs, **lesson.env_kwargs}

    @property
    def packages(self) -> tuple[str, ...]:
        """Modules to import first, also those of the classes, cores and environments named as ``"package:name"``."""
        cores = [getattr(self, name, None) for name in ("core", "critic_core", "core_kwargs", "critic_core_kwargs")]
        named = packages_of(self.policy_kwargs, self.env, [lesson.env for lesson in self.lessons], cores)
        return tuple(dict.fromkeys((*self.imports, *named)))

    @property
    def agent(self) -> str:
        """Short name of the agent, for names of runs."""
        raise NotImplementedError

    def hyperparameters(self) -> dict[str, Any]:
        """Return the settings that are arguments of the algorithm's constructor, by their names there."""
        return {
            **{name: getattr(self, name) for name in self.arguments},
            "stats_window_size": max(200, 2 * self.n_envs) if self.lessons else 100,
            "policy_kwargs": self.policy_kwargs,
        }


def linear(start: float, end: float) -> Schedule:
    """Return the schedule that goes from ``start`` to ``end`` in a straight line over the whole training."""
    from stable_baselines3.common.utils import LinearSchedule  # which loads torch: too long a wait for ``--help``

    return LinearSchedule(start, end, 1.0)


@dataclass(kw_only=True)
class GradientSettings(TrainSettings):
    """Settings of agents that learn by gradients, through a memory.

    :param core: memory system (memagents list cores); "package:name" imports the package that registers it
    :param core_kwargs: its parameters, written like --env-kwargs
    :param learning_rate: learning rate of the optimiser
    :param memory_learning_rate: learning rate of the memory's parameters; by default the same
    :param schedule: whether the learning rates stay constant or fall linearly to zero
    :param max_grad_norm: largest norm of the gradient, which is clipped to it
    """

    common: ClassVar[tuple[str, ...]] = (
        *("env", "env_kwargs", "core", "core_kwargs", "recipe"),
        *("total_timesteps", "n_envs", "learning_rate", "seed", "run_dir"),
    )
    arguments: ClassVar[tuple[str, ...]] = (*TrainSettings.arguments, "max_grad_norm")

    core: str = "lstm"
    core_kwargs: Pairs = field(default_factory=dict)
    learning_rate: float = 3e-4
    memory_learning_rate: float | None = None
    schedule: Literal["constant", "linear"] = "constant"
    max_grad_norm: float = 0.5

    @property
    def agent(self) -> str:
        return self.core

    def hyperparameters(self) -> dict[str, Any]:
        arguments = super().hyperparameters()
        rates = {name: self.scheduled(name) for name in ("learning_rate", "memory_learning_rate")}
        policy_kwargs = {**self.policy_kwargs, "core": self.core, "core_kwargs": self.core_kwargs}
        return {**arguments, **rates, "policy_kwargs": policy_kwargs}

    def scheduled(self, name: str) -> float | Schedule | None:
        """Return a learning rate, or its schedule.

        :param name: of the setting
        :raises ValueError: for a rate by which nothing is learned
        """
        rate = getattr(self, name)
        if rate is not None:
            positive(name, rate)
        return rate if rate is None or self.schedule == "constant" else linear(rate, 0.0)


@dataclass(kw_only=True)
class WindowSettings(GradientSettings):
    """Settings of agents that learn from windows of experience.

    :param learning_rate: learning rate of the optimiser; by default larger than the 3e-4 of the class (and of
        Stable-Baselines3), as suits the many environments of a training
    :param critic_core: memory of the critic's own; "same" for one like the actor's, None to share the actor's
    :param critic_core_kwargs: its parameters, written like --env-kwargs; those that "same" leaves out are the actor's
    :param n_steps: length of a window in steps; it should hold two episodes or more where the task allows
    :param n_minibatches: minibatches into which the environments of a window are dealt; by default 4
    :param n_epochs: passes over each window
    :param gae_lambda: λ of generalised advantage estimation
    :param ent_coef: weight of the entropy bonus
    :param final_ent_coef: weight of the entropy bonus at the end of the training, reached linearly; by default constant
    :param vf_coef: weight of the value loss
    :param health_interval: windows between two looks at the memory's health, logged as health/…; 0 for none
    """

    arguments: ClassVar[tuple[str, ...]] = (
        *GradientSettings.arguments,
        *("n_steps", "n_minibatches", "n_epochs", "gae_lambda", "ent_coef", "vf_coef"),
    )

    learning_rate: float = 1e-3
    critic_core: str | None = None
    critic_core_kwargs: Pairs = field(default_factory=dict)
    n_steps: int = 128
    n_minibatches: int | None = None
    n_epochs: int = 4
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    final_ent_coef: float | None = None
    vf_coef: float = 0.5
    health_interval: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.health_interval < 0:
            raise ValueError(f"health_interval must be 0 or more windows, not {self.health_interval}")

    def hyperparameters(self) -> dict[str, Any]:
        arguments = super().hyperparameters()
        if self.final_ent_coef is not None:
            arguments["ent_coef"] = linear(self.ent_coef, self.final_ent_coef)
        own = {"critic_core": self.critic_core, "critic_core_kwargs": self.critic_core_kwargs}
        arguments["policy_kwargs"] |= own
        return arguments


@dataclass(kw_only=True)
class PPOSettings(WindowSettings):
    """Proximal policy optimisation through a memory.

    :param clip_range: ε of the clipped surrogate objective
    :param clip_range_vf: ε of the clipped values; by default values are not clipped
    :param normalize_advantage: normalise the advantages of a window to mean 0 and standard deviation 1
    :param normalize_values: let the critic learn returns in units of their running mean and standard deviation (PopArt)
    :param refresh_states: before each epoch of a window but its first, find the memory's state at its start by the
        present weights, which live through the window before once more
    :param target_kl: approximate divergence; beyond 1.5 times it the epochs of a window end. By default they never do
    :param cuda_graphs: on a CUDA device, capture acting and updates as CUDA graphs and replay them
    :param bonus: intrinsic reward: count, rnd, noveld, e3b, or a product such as "e3b*rnd"; by default none
    :param bonus_kwargs: its parameters, such as coef=0.03 final_coef=0
    """

    algorithm: ClassVar[str] = "RecurrentPPO"
    arguments: ClassVar[tuple[str, ...]] = (
        *WindowSettings.arguments,
        *("clip_range", "clip_range_vf", "normalize_advantage", "normalize_values", "refresh_states"),
        *("target_kl", "cuda_graphs", "bonus", "bonus_kwargs"),
    )

    critic_core: str | None = "same"
    clip_range: float = 0.2
    clip_range_vf: float | None = None
    normalize_advantage: bool = True
    normalize_values: bool = False
    refresh_states: bool = False
    target_kl: float | None = None
    cuda_graphs: bool = False
    bonus: str | None = None
    bonus_kwargs: Pairs = field(default_factory=dict)

    def hyperparameters(self) -> dict[str, Any]:
        return {**super().hyperparameters(), "bonus_kwargs": self.bonus_kwargs or None}


@dataclass(kw_only=True)
class ImitationSettings(WindowSettings):
    """Imitation of the environment's oracle, through a memory.

    :param oracle_share: probability of taking the oracle's action instead of the policy's: 1 is behaviour cloning,
        less is DAgger
    :param whole_episodes: begin new episodes with every window, so that none is cut before its first end
    """

    algorithm: ClassVar[str] = "Imitation"
    arguments: ClassVar[tuple[str, ...]] = (*WindowSettings.arguments, "oracle_share", "whole_episodes")

    n_epochs: int = 1
    oracle_share: float = 1.0
    whole_episodes: bool = False


@dataclass(kw_only=True)
class DistillSettings(WindowSettings):
    """Distillation: the policy of another run's agent, put into one of another memory.

    :param teacher: run folder of the agent to learn from; the environment, where nothing else is said, is that of its
        training
    :param teacher_share: probability of taking the teacher's action instead of the student's
    """

    algorithm: ClassVar[str] = "Distillation"
    common: ClassVar[tuple[str, ...]] = ("teacher", *WindowSettings.common)
    arguments: ClassVar[tuple[str, ...]] = (*WindowSettings.arguments, "teacher", "teacher_share")

    teacher: str | None = None
    n_epochs: int = 1
    teacher_share: float = 0.0
