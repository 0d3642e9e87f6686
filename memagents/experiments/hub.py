"""Run folders on the Hugging Face Hub: a repository is a run folder with a model card."""

from __future__ import annotations

import importlib.util
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from memagents.experiments.evaluation import AGENT
from memagents.experiments.evaluation_file import read_means
from memagents.experiments.run import Run
from memagents.runs import checkpoint, files, layout
from memagents.runs.agent_files import read_weights
from memagents.runs.layout import (
    CHECKPOINT_FILES,
    CONFIG_FILE,
    EVALUATION_FILE,
    LEARNING_CURVE,
    MANIFEST_FILE,
    STATE_FILE,
)
from memagents.runs.pretrained import CARD

MOST_BYTES = 2**30  # of a file that is taken from a repository
_OTHERS = (CONFIG_FILE, EVALUATION_FILE, LEARNING_CURVE)
_CARD = """---
{facts}---
# {title}

{what}

    pip install 'memagents[hub]'
    memagents pull {repo} runs/{name}
    memagents evaluate runs/{name}

Nothing in these files is pickled or run; packages that they name are imported only if given again (`--imports`).
"""


def push(run: Run, repo: str, private: bool = False, with_checkpoint: bool = False, license: str | None = None) -> str:
    """Upload a run folder with a model card made of it; the repository is made where there is none.

    :param run: whose policy, settings, scores and learning curve are uploaded
    :param repo: ``"user/name"``
    :param private: a repository that is made is seen by its owner alone
    :param with_checkpoint: upload what is needed to go on with the training, too
    :param license: of the policy, as the Hub names licences, for the card
    :return: the address
    :raises ValueError: for a name that is no repository's; if huggingface_hub is not installed
    :raises OSError: if the Hub refuses, or is out of reach
    """
    check_repo(repo)
    hub = _hub()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        fill(folder, run, with_checkpoint)
        files.write_bytes(folder / CARD, card(run, repo, license).encode())
        api = hub.HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        step = run.description["num_timesteps"]
        return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"memagents: step {step:,}"))


def pull(repo: str, run_dir: Path, revision: str | None = None) -> Run:
    """Make a run folder of a repository that :func:`push` filled; its card comes along, and nothing else.

    :param repo: ``"user/name"``
    :param run_dir: folder to make
    :param revision: a branch, tag or commit, by default the newest
    :return: the run
    :raises ValueError: as :func:`push`, and if there is something in the folder
    :raises CheckpointError: if it is no run of memagents; the folder is not made then
    :raises OSError: as :func:`push`
    """
    check_repo(repo)
    hub = _hub()
    if run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise ValueError(f"run_dir {run_dir} exists; choose another one for what is pulled")
    names = [*CHECKPOINT_FILES, *_OTHERS, MANIFEST_FILE, CARD]
    with tempfile.TemporaryDirectory() as place:
        found = Path(hub.snapshot_download(repo, revision=revision, allow_patterns=names, local_dir=place))
        for name in names:
            path = found / name
            if path.is_file() and path.stat().st_size > MOST_BYTES:
                raise ValueError(f"{repo}: {name} has more than {MOST_BYTES >> 20} MiB")
        Run.open(found)
        layout.make(run_dir, "run_dir")
        for name in names:
            if (found / name).is_file():
                files.write_bytes(run_dir / name, files.read_bytes(found / name))
    return Run.open(run_dir)


def check_repo(repo: str) -> None:
    """:raises ValueError: for a name of a repository that is none"""
    parts = repo.split("/")
    allowed = all(part and not part.startswith((".", "-")) and part.isprintable() for part in parts)
    if len(parts) != 2 or not allowed or any(sign in repo for sign in " \\:?#"):
        raise ValueError(f"repo must be user/name, not {repo!r}")


def fill(folder: Path, run: Run, with_checkpoint: bool) -> None:
    """Write what a repository holds of a run to an empty folder, all of one moment.

    :raises CheckpointError: if the run cannot be read
    """
    wanted = [name for name in CHECKPOINT_FILES if with_checkpoint or name != str(STATE_FILE)]
    with checkpoint.CheckpointWriter(folder) as writer:
        for name, data in checkpoint.contents(run.folder, wanted).items():
            writer.add(name, data)
        writer.commit()
    for name in _OTHERS:
        if (run.folder / name).is_file():
            files.write_bytes(folder / name, files.read_bytes(run.folder / name))


def card(run: Run, repo: str, license: str | None = None) -> str:
    """Return the model card of a run: facts for the Hub's search, and how to use it."""
    core = str(run.description["policy_kwargs"].get("core", "lstm"))
    facts: dict[str, Any] = {
        "library_name": "memagents",
        "tags": ["reinforcement-learning", "memory", core],
        "algorithm": run.description["algorithm"],
        "core": core,
        "steps": run.description["num_timesteps"],
        "weights": sum(weights.numel() for weights in read_weights(run.folder).values()),
        "version": version("memagents"),
    }
    if license is not None:
        facts["license"] = license
    env, scores = "" if run.settings is None else run.settings.env, {}
    if (run.folder / EVALUATION_FILE).is_file():
        found, means = read_means(run.folder, [AGENT])
        env, scores = found or env, means[AGENT]
    what = f"A {facts['algorithm']} agent of [memagents](https://pypi.org/project/memagents) with the memory `{core}`"
    if env:
        facts["env"] = env
        facts["tags"].append(env)
        what += f", trained in `{env}`"
    if scores:
        # The Hub's own form for a score, so that it is shown beside the model.
        metrics = [{"type": name, "value": mean, "name": name} for name, mean in scores.items() if mean is not None]
        task = {"type": "reinforcement-learning", "name": "reinforcement-learning"}
        facts["model-index"] = [
            {
                "name": repo.partition("/")[2],
                "results": [{"task": task, "dataset": {"name": env, "type": env}, "metrics": metrics}],
            }
        ]
        what += ": " + ", ".join(f"{metric['name']} {metric['value']:.3g}" for metric in metrics)
    name = repo.partition("/")[2]
    return _CARD.format(
        facts=yaml.safe_dump(facts, sort_keys=False, width=1000), title=name, what=f"{what}.", repo=repo, name=name
    )


def _hub() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError("the Hub needs the package huggingface_hub: pip install 'memagents[hub]'")
    import huggingface_hub

    return huggingface_hub
