"""The main job: what of it is kept."""

from dataclasses import replace

import pytest
from stable_baselines3.common.callbacks import ConvertCallback

from memagents.experiments.evaluation import Interval, Scores
from memagents.experiments.lessons import make_curriculum
from memagents.experiments.settings import PPOSettings
from memagents.experiments.training import learn, make_agent
from tests.support.scripts import names_in
from tests.support.trainings import SMALL

SCRIPT = names_in("main_job.py")
SHARE = 128 / 2_000_000  # of the steps of PPO


def asked(**changes):
    return SCRIPT["MainJobSettings"](**{"share": SHARE, "seeds": 2, **changes})


def test_what_is_finished_is_kept_and_what_was_stopped_is_not(tmp_path):
    """A training that Ctrl-C has stopped has drawn its curve, and saved, all the same."""
    run = tmp_path / "ppo"
    settings = PPOSettings(**SMALL | {"total_timesteps": 128}, run_dir=str(run))
    assert not SCRIPT["is_done"](run, asked())
    curriculum = make_curriculum(settings)
    agent = make_agent(settings, curriculum)
    learn(agent, settings, curriculum, [ConvertCallback(lambda *_: agent.stop() or True)])  # as Ctrl-C does
    assert (run / "learning_curve.png").is_file()
    assert agent.num_timesteps == 64
    assert not SCRIPT["is_done"](run, asked())
    resumed = replace(settings, resume=str(run))
    agent = make_agent(resumed, curriculum)
    learn(agent, resumed, curriculum)
    assert SCRIPT["is_done"](run, asked())
    with pytest.raises(
        ValueError, match="was trained for 128 steps, not 256: choose another --run-dir, or the --share"
    ):
        SCRIPT["is_done"](run, asked(share=2 * SHARE))


def test_only_agents_that_are_trained_have_seeds():
    """A walk that is the same in each run would else have an interval without a width."""

    def scores(success):
        return Scores(1000, success, success, None, None, {})

    walk = Interval(0.6, 0.57, 0.63)
    seeds = [{"1 hop": {"dnc": scores(Interval(s, s, s)), "random walk": scores(walk)}} for s in (0.9, 1.0)]
    _, _, trained, walked = SCRIPT["over_all_seeds"](seeds)
    assert [cell.strip() for cell in trained.split("|")[1:-1]] == ["dnc", "0.950", "0.900, 1.000"]
    assert [cell.strip() for cell in walked.split("|")[1:-1]] == ["random walk", "0.600 (0.570 to 0.630)", ""]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cores": ("dnc", "lsmt")}, "there is no core 'lsmt'"),
        ({"cores": ("dnc", "dnc")}, "cores must be one or more, each once, not dnc dnc"),
        ({"cores": ()}, "cores must be one or more, each once, not none"),
        ({"seeds": 0}, "seeds must be a positive integer"),
        ({"share": 0.0}, "share must be a number above 0 and at most 1, not 0.0"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(wrong, message):
    with pytest.raises(ValueError, match=message):
        asked(**wrong)
