"""Arguments of an agent that are not what they should be, and folders that are another agent's."""

import numpy as np
import pytest

import memenvs  # noqa: F401
from memagents import RecurrentPPO, make_env
from memagents.runs.files import CheckpointError
from tests.support.toys import assert_same

ENV = "memenvs/TMaze-v0"


def agent(**kwargs):
    return RecurrentPPO("MlpPolicy", ENV, **{"n_steps": 8, "device": "cpu", **kwargs})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy_kwargs": "gru"}, "policy_kwargs must be a dict of values by their names, not 'gru'"),
        ({"policy_kwargs": {1: 2}}, "policy_kwargs must be a dict of values by their names"),
        ({"policy_kwargs": {"core_kwargs": "64"}}, "core_kwargs must be a dict of values by their names, not '64'"),
        ({"policy_kwargs": {"core_kwargs": 64}}, "core_kwargs must be a dict of values by their names, not 64"),
        ({"policy_kwargs": {"critic_core_kwargs": 64}}, "critic_core_kwargs must be a dict of values by their names"),
        ({"seed": "a"}, "seed must be an integer from 0 to 4294967295, not 'a'"),
        ({"seed": -1}, "seed must be an integer"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda or cuda:N, not 'gpu'"),
        ({"device": 1.5}, "device must be auto, cpu, cuda or cuda:N"),
        ({"verbose": "yes"}, "verbose must be an integer of 0 or more, not 'yes'"),
        ({"run_dir": 3}, "run_dir must be the path of a folder, not 3"),
        ({"condition_on": 10}, "condition_on must be a list of words among action, reward, not 10"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        agent(**arguments)


def test_a_parameter_of_the_policy_is_not_one_of_the_agent():
    with pytest.raises(TypeError, match=r"no argument 'core': it is one of the policy's, policy_kwargs=\{'core': …\}"):
        agent(core="gru")


@pytest.mark.parametrize("steps", ["1e5", 10.5, -1, None, float("nan"), float("inf")])
def test_a_number_of_steps_that_is_none_is_refused(steps):
    with pytest.raises(ValueError, match=r"^total_timesteps must be an integer of 0 or more"):
        agent().learn(steps)


@pytest.mark.parametrize("steps", [16.0, np.int64(16), 1.6e1])
def test_a_number_of_steps_may_be_written_as_one_likes(steps):
    assert agent().learn(steps).num_timesteps == 16


def test_other_values_that_stable_baselines_takes():
    assert (agent(verbose=True).verbose, agent(seed=np.int64(3)).seed) == (1, 3)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_wrong_argument_is_named_by_load(tmp_path):
    agent().save(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"policy_kwargs must be a dict of values by their names, not 'gru'"):
        RecurrentPPO.load(tmp_path / "saved", policy_kwargs="gru")


def test_a_training_does_not_replace_another(tmp_path):
    folder = tmp_path / "run"
    agent(run_dir=folder).learn(16)
    before = files(folder)
    with pytest.raises(ValueError, match=r"^run_dir .*run holds another agent's training: .*RecurrentPPO.resume\('"):
        agent(run_dir=folder).learn(16)
    with pytest.raises(ValueError, match=r"^path .*run holds another agent's training"):
        agent().save(folder)
    with pytest.raises(ValueError, match=r"^path .*run holds another agent's training"):
        agent().save(f"{folder}.zip")
    assert_same(files(folder), before)


def test_an_agent_goes_on_in_its_own_folder(tmp_path):
    folder = tmp_path / "run"
    first = agent(run_dir=folder).learn(16)
    first.learn(16, reset_num_timesteps=False)
    first.save(folder)
    RecurrentPPO.load(folder).save(folder)
    assert RecurrentPPO.resume(folder, make_env(ENV)).learn(16, reset_num_timesteps=False).num_timesteps == 48
    assert RecurrentPPO.load(folder, ENV, run_dir=folder).learn(16).num_timesteps == 16


def test_a_saved_agent_is_replaced_by_another_that_is_saved_and_not_by_a_training(tmp_path):
    folder = tmp_path / "saved"
    agent().save(folder)
    agent(policy_kwargs={"core": "gru"}).save(folder)
    assert RecurrentPPO.load(folder).policy_kwargs["core"] == "gru"
    with pytest.raises(ValueError, match=r"^run_dir .*saved holds another agent's training"):
        agent(run_dir=folder).learn(16)


def test_a_path_that_is_no_run_folder_is_said_to_be_none(tmp_path):
    script, folder = tmp_path / "train.py", tmp_path / "docs"
    script.touch()
    folder.mkdir()
    (folder / "page.md").touch()
    with pytest.raises(CheckpointError, match=r"train\.py is a file; a run is a folder"):
        RecurrentPPO.load(script)
    with pytest.raises(CheckpointError, match=r"docs is no run folder: policy\.json does not exist in it"):
        RecurrentPPO.load(folder)
