"""Search for hyperparameters with Optuna: trials side by side, the poor ones ended early, all of it resumable."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from memagents.checks import positive_int, seed_int
from memagents.experiments.cluster import pool_of
from memagents.experiments.jobs import DONE, SET_FOR_ALL, Job
from memagents.experiments.jobs import claim as claim_folder
from memagents.experiments.options import Pairs, as_words, refuse_words, settings_in, some_pairs
from memagents.experiments.settings import PPOSettings, packages_of
from memagents.runs.files import CheckpointError
from memagents.runs.layout import PROGRESS_FILE, RUNS

if TYPE_CHECKING:
    import optuna

SETTINGS_FILE = "search.json"
STUDY_FILE = "study.db"
STUDY_NAME = "memagents"
_REPORTS = 20  # of how a trial does, over its training
_SET = {**SET_FOR_ALL, "core": "--core", "seed": ""}  # the seed of a trial is its number


@dataclass(kw_only=True)
class TuningSettings:
    """Search for hyperparameters of recurrent PPO on one environment, by Optuna.

    Trials are trainings with one thread each; one that does worse than the median of those before, at the same step,
    is ended (after the first few). The same command goes on after Ctrl-C or a crash. Words after ``--`` are settings
    of ``memagents train ppo`` that all trials share.

    :param env: id of an environment, or "package:Id"
    :param env_kwargs: its parameters, as key=value with values in YAML
    :param core: memory system
    :param trials: trainings in all
    :param total_timesteps: environment steps of each
    :param space: what is searched, as setting=[low,high] (by logarithms where high is 20 times low or more) or
        setting=[a,b,c] for choices; by default learning_rate, ent_coef, gamma, gae_lambda and n_epochs, without those
        that are set after ``--``
    :param episodes: of each evaluation
    :param processes: trainings at a time; by default one for each processor
    :param ray: run the trainings on a cluster of Ray: its address, "auto" for the one that this machine belongs to,
        or "local" for one of this machine alone. All its machines must see the folder by the same path
    :param folder: where everything goes; by default runs/tune-ENV-CORE
    :param imports: packages to import first, for the cores and environments they register
    :param seed: of the search
    :param words: settings of ``memagents train ppo``, such as --n-envs 64, after ``--``
    """

    env: str
    env_kwargs: Pairs = field(default_factory=dict)
    core: str = "lstm"
    trials: int = 50
    total_timesteps: int = 1_000_000
    space: Annotated[dict[str, Any], some_pairs("space", "memagents tune --env ID --space 'gamma=[0.9,0.99]'")] = field(
        default_factory=dict
    )
    episodes: int = 200
    processes: int | None = None
    ray: str | None = None
    folder: Path | None = None
    imports: tuple[str, ...] = ()
    seed: int = 0
    words: tyro.conf.Suppress[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("trials", "total_timesteps", "episodes"):
            positive_int(name, getattr(self, name))
        if self.processes is not None:
            positive_int("processes", self.processes)
        seed_int("seed", self.seed)
        refuse_words(self.words, _SET, "tune")
        if not self.searched:
            raise ValueError("space: all that is searched by default is set after --; name what is to be searched")
        for name, values in self.searched.items():
            if name in _SET and name != "core":
                raise ValueError(f"space: {name} is set by tune itself; it is not searched")
            if name in settings_in(self.words):
                raise ValueError(f"space: {name} is also set after --; it is either searched or set")
            if not isinstance(values, list) or len(values) < 2 or (_is_range(values) and not values[0] < values[1]):
                raise ValueError(f"space: {name} must be [low,high] or a list of choices, not {values!r}")

    @property
    def searched(self) -> dict[str, list[Any]]:
        """What is searched."""
        fixed = settings_in(self.words)
        return self.space or {name: values for name, values in DEFAULT_SPACE.items() if name not in fixed}

    def plain(self) -> dict[str, Any]:
        """Return what decides the results of a trial, as plain values."""
        settings = dataclasses.asdict(self)
        left_out = ("trials", "processes", "ray", "folder")
        return {**{name: settings[name] for name in settings if name not in left_out}, "space": self.searched}

    @property
    def place(self) -> Path:
        """Folder of the search."""
        name = f"tune-{re.split('[:/]', self.env)[-1]}-{self.core}"
        return RUNS / re.sub(r"[^\w.-]+", "-", name) if self.folder is None else self.folder


DEFAULT_SPACE: dict[str, list[Any]] = {
    "learning_rate": [1e-4, 3e-3],
    "ent_coef": [1e-4, 3e-2],
    "gamma": [0.95, 0.98, 0.99, 0.995],
    "gae_lambda": [0.8, 0.9, 0.95],
    "n_epochs": [2, 4, 8],
}


def suggest(trial: optuna.trial.Trial, space: dict[str, list[Any]]) -> dict[str, Any]:
    """Let Optuna choose a value of every setting."""
    chosen: dict[str, Any] = {}
    for name, values in space.items():
        if not _is_range(values):
            plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
            words = values if plain else [json.dumps(value) for value in values]  # Optuna keeps no lists, no mappings
            word = trial.suggest_categorical(name, words)
            chosen[name] = word if plain else json.loads(word)
        elif _is_whole(name) and all(isinstance(value, int) for value in values):
            chosen[name] = trial.suggest_int(name, *values, log=_wide(values))
        else:
            chosen[name] = trial.suggest_float(name, *map(float, values), log=_wide(values))
    return chosen


def claim(settings: TuningSettings) -> None:
    """Make the folder of a search, or find it as it was left.

    :raises ValueError: if it holds a search by other settings, or something else, or cannot be made
    """
    claim_folder(settings.place, SETTINGS_FILE, settings.plain(), "search")


def search(
    settings: TuningSettings, watch: Callable[[optuna.Study, Sequence[Job]], None] | None = None
) -> optuna.Study:
    """Run the trials that are missing, and return the study.

    :param watch: called about twice a second with the study and the jobs that run
    :raises CheckpointError: if the study that is there cannot be used
    :raises KeyboardInterrupt: after Ctrl-C, when the running trials have saved and ended; they go on with the next call
    """
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = settings.place / STUDY_FILE
    try:
        study = optuna.create_study(
            study_name=STUDY_NAME,
            storage=f"sqlite:///{file}",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_REPORTS // 5),
            load_if_exists=True,
        )
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        reason = " ".join(str(error).split("\n", 1)[0].split())
        raise CheckpointError(f"{file} is no study of Optuna's that can be used: {reason}") from error
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.trials))  # not the same draws again
    left = [trial.number for trial in study.trials if not trial.state.is_finished()]
    running: dict[Job, Any] = {}
    with pool_of(settings.processes, settings.ray) as pool:
        while left or running or len(study.trials) < settings.trials:
            while pool.has_room and (left or len(study.trials) < settings.trials):
                trial = _again(study, left.pop(0)) if left else study.ask()
                job = _job(settings, trial)
                running[job] = trial
                pool.start(job)
            for job in pool.wait():
                _tell(study, running.pop(job), job)
            for job, trial in list(running.items()):
                if _report(trial, job, settings.total_timesteps):
                    pool.stop(job)
                    study.tell(running.pop(job), state=optuna.trial.TrialState.PRUNED)
            if watch is not None:
                watch(study, list(running))
    return study


def best(study: optuna.Study) -> tuple[float, dict[str, Any]] | None:
    """Return the score and the settings of the best finished trial; None where none has finished."""
    import optuna

    finished = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if not finished:
        return None
    first = max(finished, key=lambda trial: trial.value if trial.value is not None else float("-inf"))
    return float(first.value or 0), first.user_attrs["settings"]


def failures(study: optuna.Study) -> dict[int, str]:
    """Return why trials failed, by their numbers."""
    import optuna

    failed = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,))
    return {trial.number: trial.user_attrs.get("reason", "") for trial in failed}


def _job(settings: TuningSettings, trial: Any) -> Job:
    """Return the job of a trial."""
    chosen = suggest(trial, settings.searched)
    trial.set_user_attr("settings", chosen)
    own: dict[str, Any] = {"env": settings.env, "env_kwargs": settings.env_kwargs, "core": settings.core, **chosen}
    own |= {
        "imports": settings.imports,
        "total_timesteps": settings.total_timesteps,
        "eval_episodes": settings.episodes,
    }
    words = ["ppo", *settings.words]
    for name, value in {**own, "threads": 1, "seed": trial.number}.items():
        if value not in ({}, ()):
            words += as_words(name, value)
    imports = (*settings.imports, *packages_of(settings.env, settings.core))
    return Job(settings.place / f"trial-{trial.number}", words, imports)


def _again(study: optuna.Study, number: int) -> Any:
    """Return a trial that a killed process has left, to go on with it."""
    import optuna

    return optuna.trial.Trial(study, study.trials[number]._trial_id)


def _report(trial: Any, job: Job, total_timesteps: int) -> bool:
    """Report how a trial does, about twenty times over its training, and return whether it should end."""
    from memagents.runs.progress import STEPS, read_progress

    try:
        rows = read_progress(job.folder / PROGRESS_FILE)
    except OSError:
        return False
    score = _recent(rows)
    if score is None:
        return False
    step = int(_REPORTS * float(rows[-1][STEPS]) / total_timesteps)
    if step > trial.user_attrs.get("reported", 0):
        trial.set_user_attr("reported", step)
        trial.report(score, step)
        return bool(trial.should_prune())
    return False


def _recent(rows: Sequence[dict[str, str]]) -> float | None:
    """Return the success, or else the return, of the last rows of a log."""
    for column in ("rollout/success_rate", "rollout/ep_rew_mean"):
        logged = [float(row[column]) for row in rows[-5:] if row.get(column)]
        if logged:
            return sum(logged) / len(logged)
    return None


def _tell(study: optuna.Study, trial: Any, job: Job) -> None:
    """Tell Optuna what a finished or failed trial came to."""
    import optuna

    from memagents.experiments.evaluation import SAMPLED  # which loads torch
    from memagents.experiments.evaluation_file import read_means

    reason, score = job.reason, None
    if job.status == DONE:
        means = read_means(job.folder, [SAMPLED])[1][SAMPLED]
        score = means.get("success", means["returns"])
        reason = "its return in the evaluation is not a finite number"
    if score is None:
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
        study.tell(trial, score)


def _is_whole(name: str) -> bool:
    """Whether a setting takes integers alone; of one that there is not the values decide."""
    found = [field.type for field in dataclasses.fields(PPOSettings) if field.name == name]
    return not found or "float" not in str(found[0])


def _is_range(values: list[Any]) -> bool:
    """Whether a list of two numbers is meant as a range."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return len(values) == 2 and numbers


def _wide(values: list[Any]) -> bool:
    return values[0] > 0 and values[1] >= 20 * values[0]
