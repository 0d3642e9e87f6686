"""Evaluation of runs, and their episodes in pictures."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from memagents import CheckpointError, load_agent
from memagents.environments.make import make_env
from memagents.experiments.evaluate_run import AGENT, SAMPLED, RunScores, evaluate_over, evaluate_run, scenes
from memagents.experiments.evaluation import ORACLE, RANDOM, WALK, Interval, Scores, evaluate
from memagents.experiments.evaluation_settings import EVALUATION_SEED, EvaluationSettings
from memagents.experiments.run import Run


def test_a_run_is_evaluated_where_its_agent_can_act(trained):
    run = Run.open(trained)
    evaluation = evaluate_run(run, EvaluationSettings(episodes=30, device="cpu"))
    assert evaluation.env_kwargs == {"length": 1} and list(evaluation.scores) == [AGENT, SAMPLED, RANDOM, WALK, ORACLE]
    assert evaluation == evaluate_run(run, EvaluationSettings(episodes=30, device="cpu"))
    assert evaluation.title == "memenvs/TMaze-v0 (length=1), 30 episodes"
    json.dumps(evaluation.to_json(), allow_nan=False)
    assert evaluate_run(run, EvaluationSettings(env_kwargs={"length": 4}, episodes=2)).scores[ORACLE].returns.mean == 1
    with pytest.raises(CheckpointError, match="observation_space was MultiDiscrete"):
        evaluate_run(run, EvaluationSettings(env="memenvs/Underground-v0", episodes=2))
    with pytest.raises(ValueError, match="split must be None"):
        evaluate_run(run, EvaluationSettings(split="test", episodes=2))
    with pytest.raises(ValueError, match="episodes must be a positive integer"):
        EvaluationSettings(episodes=0)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed must be an integer from 0 to 4294967295, not {seed}"):
            EvaluationSettings(seed=seed)


def test_more_minibatches_than_environments_do_not_hinder_an_evaluation(trained):
    description = json.loads((trained / "policy.json").read_text())
    description["hyperparameters"]["n_minibatches"] = 8
    (trained / "policy.json").write_text(json.dumps(description))
    (trained / "manifest.json").unlink()
    assert load_agent(trained, make_env("memenvs/TMaze-v0", 2)).n_envs == 2


def test_scenes_end_with_the_last_observation(trained):
    agent = load_agent(trained, make_env("memenvs/TMaze-v0", 1, length=1))
    with torch.no_grad():
        agent.policy.action_net.bias[1] += 100  # along the corridor, so that there is something to see
    agent.save(trained)
    played = scenes(Run.open(trained), EvaluationSettings(episodes=2, device="cpu"))
    lengths = evaluate(
        load_agent(trained, make_env("memenvs/TMaze-v0", 1, length=1)),
        make_env("memenvs/TMaze-v0", 1, length=1),
        2,
        seed=EVALUATION_SEED,
    ).lengths
    assert [len(scene) - 1 for scene in played] == lengths.tolist()
    assert all(
        picture.dtype == np.uint8 and picture.shape == played[0][0].shape for scene in played for picture in scene
    )
    assert any((a != b).any() for a, b in pairwise(played[0]))


def test_sampled_actions_stand_beside_the_most_likely_ones(trained):
    """An agent that turns back and forth with the same probability never gets anywhere by its most likely action."""
    agent = load_agent(trained, make_env("memenvs/TMaze-v0", 1, length=1))
    with torch.no_grad():
        agent.policy.action_net.weight.zero_()
        agent.policy.action_net.bias[:] = torch.tensor([0.01, 0, 0, 0])  # stays, by a hair
    agent.save(trained)
    run = Run.open(trained)
    evaluation = evaluate_run(run, EvaluationSettings(episodes=200, device="cpu"))
    likely, sampled = evaluation.scores[AGENT].success, evaluation.scores[SAMPLED].success
    assert likely.mean == 0 and sampled.mean > 0.05
    assert evaluation.hint.startswith("hint: the sampled actions do better than the most likely ones (")
    alone = evaluate_run(run, EvaluationSettings(episodes=20, device="cpu", stochastic=True))
    assert AGENT not in alone.scores and SAMPLED in alone.scores and alone.hint is None


def test_a_parameter_is_varied_or_set():
    with pytest.raises(ValueError, match="over: length is also in env_kwargs; give it once"):
        EvaluationSettings(over={"length": [1, 2]}, env_kwargs={"length": 3})


def test_every_value_of_a_parameter_is_checked_before_anything_is_played(trained, monkeypatch):
    monkeypatch.setattr(sys.modules[evaluate_over.__module__], "compare", lambda *_: pytest.fail("it was played"))
    with pytest.raises(ValueError, match="length must be within 1"):
        evaluate_over(Run.open(trained), EvaluationSettings(over={"length": [1, 0]}, episodes=2, device="cpu"))


def test_hints_compare_what_both_have():
    """Not the success of the one with the return of the other."""
    known = Scores(10, Interval(5, 4, 6), Interval(1, 0.9, 1), None, None, {})
    unknown = known._replace(success=None)
    assert RunScores("env", {}, 10, 0, {AGENT: known, SAMPLED: unknown}).hint is None


def test_advice_is_for_the_worse_actions():
    low, high = (Scores(10, Interval(m, m - 0.1, m + 0.1), None, None, None, {}) for m in (0.2, 0.8))
    sampled = RunScores("env", {}, 10, 0, {AGENT: low, SAMPLED: high}).hint
    assert "or a smaller --ent-coef where the algorithm has one; predict(..., deterministic=False) samples" in sampled
    assert RunScores("env", {}, 10, 0, {AGENT: high, SAMPLED: low}).hint == (
        "hint: the most likely actions do better than the sampled ones (0.80 against 0.20). Training shows sampled "
        "ones, so that the agent is better than its learning curve"
    )


def test_no_hint_where_the_scores_are_alike():
    interval = Interval(0.5, 0.4, 0.6)
    scores = Scores(10, interval, None, None, None, {})
    assert RunScores("env", {}, 10, 0, {AGENT: scores, SAMPLED: scores}).hint is None
