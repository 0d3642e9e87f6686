"""Run folders as repositories, held against a Hub that is a folder here."""

import shutil
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import yaml

from memagents import RecurrentPPO
from memagents.__main__ import main
from memagents.experiments import hub
from memagents.experiments.run import Run
from memagents.runs.files import CheckpointError
from tests.support.agents import assert_same_weights, make, weights_of
from tests.support.toys import tmaze


@pytest.fixture
def there(tmp_path, monkeypatch):
    """The Hub: a folder with those of its repositories."""
    place = tmp_path / "hub"

    class HfApi:
        def create_repo(self, repo_id, private, exist_ok):
            (place / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(self, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, place / repo_id, dirs_exist_ok=True)
            return f"https://hub/{repo_id}"

    def snapshot_download(repo_id, revision, allow_patterns, local_dir):
        if not (place / repo_id).is_dir():
            raise OSError(f"there is no repository {repo_id}")
        for name in allow_patterns:
            if (place / repo_id / name).is_file():
                (Path(local_dir) / name).parent.mkdir(exist_ok=True)
                shutil.copy(place / repo_id / name, Path(local_dir) / name)
        return local_dir

    module = types.ModuleType("huggingface_hub")
    module.HfApi, module.snapshot_download = HfApi, snapshot_download
    module.__spec__ = ModuleSpec("huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.chdir(tmp_path)
    return place


def learned(folder="run"):
    agent = make(run_dir=folder)
    agent.learn(64)
    return agent


def test_a_policy_comes_back_as_it_was(there, capsys):
    agent = learned()
    main(["push", "run", "me/maze", "--license", "mit"])
    assert "https://hub/me/maze" in capsys.readouterr().out
    assert sorted(path.name for path in (there / "me/maze").iterdir()) == [
        *("README.md", "manifest.json", "policy.json", "policy.safetensors")
    ]
    main(["pull", "me/maze", "back"])
    assert "memagents evaluate back" in capsys.readouterr().out
    loaded = RecurrentPPO.load("back", device="cpu")
    assert_same_weights(weights_of(loaded), weights_of(agent))
    with pytest.raises(CheckpointError, match="state"):
        RecurrentPPO.resume("back", tmaze(), device="cpu")


def test_with_its_checkpoint_a_training_goes_on(there):
    agent = learned()
    hub.push(Run.open("run"), "me/maze", with_checkpoint=True)
    hub.pull("me/maze", Path("back"))
    agent.learn(64, reset_num_timesteps=False)
    again = RecurrentPPO.resume("back", tmaze(), device="cpu")
    again.learn(64, reset_num_timesteps=False)
    assert_same_weights(weights_of(again), weights_of(agent))


def test_the_card_tells_what_is_known(there):
    words = "train ppo --env memenvs/TMaze-v0 --env-kwargs length=3 --core gru --core-kwargs hidden_size=4 --n-envs 4"
    words += " --n-steps 8 --total-timesteps 64 --eval-episodes 4 --run-dir run --device cpu"
    main(words.split())
    text = hub.card(Run.open("run"), "me/maze")
    facts = yaml.safe_load(text.split("---")[1])
    assert facts["library_name"] == "memagents" and facts["core"] == "gru" and facts["steps"] == 64
    assert facts["env"] == "memenvs/TMaze-v0" and "reinforcement-learning" in facts["tags"]
    metrics = facts["model-index"][0]["results"][0]["metrics"]
    assert {metric["type"] for metric in metrics} == {"returns", "success"}
    assert all(np.isfinite(metric["value"]) for metric in metrics)
    assert "memagents pull me/maze runs/maze" in text and "license" not in facts


def test_what_is_none_is_refused_and_leaves_nothing(there, tmp_path, capsys):
    learned()
    (there / "me/other").mkdir(parents=True)
    (there / "me/other/README.md").write_text("something else")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for words, told in (
        (["push", "run", "maze"], "repo must be user/name"),
        (["push", "run", "../maze"], "repo must be user/name"),
        (["push", "nowhere", "me/maze"], "nowhere"),
        (["pull", "me/nothing", "back"], "no repository"),
        (["pull", "me/other", "back"], "policy.json"),
        (["pull", "me/other", "full"], "run_dir full exists"),
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 2
        assert told in capsys.readouterr().err
    assert not Path("back").exists()


def test_without_the_package_it_says_what_to_install(monkeypatch, tmp_path):
    learned(tmp_path)
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'memagents\[hub\]'"):
        hub.push(Run.open(tmp_path), "me/maze")
