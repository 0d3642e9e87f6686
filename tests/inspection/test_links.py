"""Links that are found again from write weightings are those that the DNC had."""

import numpy as np
import pytest

from memagents.inspection import record
from memagents.inspection.links import LINK_AXES, links_of
from memagents.inspection.page import payload as of_page
from tests.inspection.support import make_agent


def recorded(folder, **policy):
    agent = make_agent(n_envs=2, length=9, policy_kwargs={"core": "dnc", **policy})
    return record(agent, folder, 2, deterministic=False, states=True)


def test_they_are_those_of_the_states(tmp_path):
    for episode in recorded(tmp_path / "recording").episodes:
        steps = episode.read("trace.write_weights", "state.2")
        before = steps["state.2"]  # memory, usage, link
        found = links_of(steps["trace.write_weights"])
        assert found.shape == before.shape and found[-1].any()
        assert not before[0].any()
        assert np.allclose(found[:-1], before[1:], atol=1e-6)


@pytest.mark.parametrize("policy", [{}, {"critic_core": "same"}])
def test_the_page_has_them(policy, tmp_path, monkeypatch):
    recording = recorded(tmp_path / "recording", **policy)
    names = {"trace.link", *(["trace.critic_link"] if policy else [])}
    (told,) = of_page.make_payload([recording]).contents["recordings"]
    for episode in told["episodes"]:
        links = {name: one for name, one in episode["arrays"].items() if name.endswith("link")}
        assert links.keys() == names
        assert all(one["axes"] == list(LINK_AXES) for one in links.values())
    monkeypatch.setattr(of_page, "MAX_NUMBERS", 2000)
    contents = of_page.make_payload([recording]).contents
    assert not any(name.endswith("link") for name in contents["recordings"][0]["episodes"][0]["arrays"])
    assert any("link (32 × 32 a step)" in note for note in contents["notes"])


def test_other_memories_have_none(tmp_path):
    recording = record(make_agent(n_envs=1, length=4, policy_kwargs={"core": "ntm"}), tmp_path / "recording", 1)
    (told,) = of_page.make_payload([recording]).contents["recordings"]
    assert "trace.link" not in told["episodes"][0]["arrays"]
