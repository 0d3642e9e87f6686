"""Pictures, whichever way round and however small; and what is not one."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecTransposeImage

from memagents import MFEC, NEC, RecurrentPPO, load_agent
from memagents.experiments.evaluation import evaluate
from memagents.policies.encoding import FlatEncoder, encoder_for, make_encoder
from memagents.policies.picture_encoders import PictureEncoder
from memagents.policies.symbol_encoders import GridEncoder
from tests.support.agents import assert_same_weights, weights_of
from tests.support.worlds import World


def image(*shape):
    return spaces.Box(0, 255, shape, np.uint8)


def floats(*shape):
    return spaces.Box(0, 1, shape, np.float32)


GUESSED, ASKED = "codes of a grid world", "taken for a picture"
CHOICES = [
    # MiniGrid's views are nothing but codes; larger grids might be pictures, so that the guess is told.
    ("auto", image(3, 3, 3), GridEncoder, None),
    ("auto", image(7, 7, 3), GridEncoder, None),
    ("auto", image(9, 9, 3), GridEncoder, None),
    ("auto", image(9, 10, 3), GridEncoder, GUESSED),
    ("auto", image(35, 35, 3), GridEncoder, GUESSED),
    ("auto", image(36, 36, 3), PictureEncoder, None),
    ("auto", image(35, 36, 3), FlatEncoder, None),
    ("auto", image(3, 35, 35), FlatEncoder, None),
    ("auto", image(3, 36, 36), NatureCNN, None),
    ("auto", image(36, 36, 1), PictureEncoder, None),
    ("auto", image(7, 7, 1), FlatEncoder, None),
    ("auto", image(20, 20, 4), FlatEncoder, None),
    ("auto", floats(64, 64, 3), FlatEncoder, None),
    ("auto", floats(3, 64, 64), FlatEncoder, None),
    ("grid", image(9, 10, 3), GridEncoder, None),
    ("grid", image(35, 35, 3), GridEncoder, None),
    ("cnn", image(7, 7, 3), PictureEncoder, ASKED),
    ("cnn", image(10, 10, 3), PictureEncoder, None),
    ("cnn", image(35, 35, 3), PictureEncoder, None),
    ("cnn", image(35, 36, 3), PictureEncoder, None),
    ("cnn", image(36, 36, 3), PictureEncoder, None),
    ("cnn", image(3, 35, 64), PictureEncoder, None),
    ("cnn", image(3, 36, 64), NatureCNN, None),
    ("cnn", image(8, 8, 1), PictureEncoder, None),
    ("cnn", floats(3, 64, 64), NatureCNN, None),
    ("cnn", floats(64, 64, 3), PictureEncoder, None),
    ("cnn", floats(5, 5, 3), PictureEncoder, None),
    ("flat", image(7, 7, 3), FlatEncoder, None),
    ("flat", image(64, 64, 3), FlatEncoder, None),
    ("flat", floats(64, 64, 3), FlatEncoder, None),
]


@pytest.mark.parametrize(("encoder", "space", "expected", "told"), CHOICES, ids=str)
@pytest.mark.parametrize("name", ["", "view"])
def test_what_is_chosen_and_when_a_sentence_says_so(encoder, space, expected, told, name):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        whole = make_encoder(spaces.Dict({name: space}) if name else space, encoder)
    made = whole.encoders[name] if name else whole
    kind = type(made)
    assert kind is expected
    assert [told in str(warning.message) for warning in heard] == ([] if told is None else [True])
    if told is not None:
        assert ("the entry view (" in str(heard[0].message)) == bool(name)
        assert heard[0].filename == __file__
    numbers = torch.zeros(2, *space.shape, dtype=torch.uint8 if kind is GridEncoder else torch.float32)
    assert made(numbers).shape == (2, made.features_dim)


@pytest.mark.parametrize("space", [image(36, 36, 3), image(7, 7, 1), image(3, 7, 7), image(2, 7, 3), floats(7, 7, 3)])
def test_what_cannot_be_a_grid(space):
    with pytest.raises(ValueError, match=r"encoder='grid' takes bytes \(n, m, 3\), n and m from 3 to 35, but the obs"):
        encoder_for(space, "grid")


def heard_from(space, encoder="auto"):
    """The warnings of an encoder in the making."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        make_encoder(space, encoder)
    return [str(warning.message) for warning in heard]


def test_the_sentence():
    """One warning for all entries, with the words for Python and for the command line."""
    assert heard_from(image(12, 12, 3)) == [
        "the observation (12, 12, 3) is taken for the codes of a grid world, as MiniGrid's are; if it is a picture, "
        "pass policy_kwargs={'encoder': 'cnn'} (on the command line: --policy-kwargs encoder=cnn); 'grid' instead of "
        "'cnn' silences this warning"
    ]
    two = spaces.Dict(cam=image(12, 12, 3), grid=image(20, 10, 3), place=spaces.Discrete(3))
    assert heard_from(two) == [
        "the entries cam (12, 12, 3) and grid (20, 10, 3) are taken for the codes of a grid world, as MiniGrid's are; "
        "if they are pictures, pass policy_kwargs={'encoder': {'cam': 'cnn', 'grid': 'cnn'}} (on the command line: "
        "--policy-kwargs \"encoder={cam: cnn, grid: cnn}\"); 'grid' instead of 'cnn' silences this warning"
    ]
    (three,) = heard_from(spaces.Dict(a=image(12, 12, 3), b=image(12, 12, 3), c=image(12, 12, 3)))
    assert three.startswith("the entries a (12, 12, 3), b (12, 12, 3) and c (12, 12, 3) are taken")
    (one,) = heard_from(two, {"cam": "cnn"})
    assert one.startswith("the entry grid (20, 10, 3) is taken") and "{'encoder': {'grid': 'cnn'}}" in one
    assert heard_from(two, {"cam": "cnn", "grid": "grid"}) == []
    views = spaces.Dict(left=image(7, 7, 3), right=image(7, 7, 3))
    (asked,) = heard_from(views, "cnn")
    assert asked.startswith("the entries left (7, 7, 3) and right (7, 7, 3) are taken for pictures, as CnnPolicy asks;")
    assert asked.endswith('(on the command line: --policy-kwargs "encoder={left: grid, right: grid}")')
    assert heard_from(views, {"left": "cnn", "right": "cnn"}) == []  # whoever names an entry knows what it is


def test_an_agent_says_it_once_and_without_a_line_of_source(tmp_path, monkeypatch):
    space, lines = spaces.Dict(cam=image(12, 12, 3), grid=image(12, 12, 3)), []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *shown: lines.append(warnings.formatwarning(*shown[:4])))
        agent = RecurrentPPO("MultiInputPolicy", World(space), n_steps=4, bonus="rnd", device="cpu")
        agent.learn(4)
        agent.save(tmp_path / "run")
        agent.policy.save(tmp_path / "policy")
        load_agent(tmp_path / "run", World(space), device="cpu")
        RecurrentPPO.resume(tmp_path / "run", World(space), device="cpu")
        type(agent.policy).load(tmp_path / "policy", "cpu")
    assert len(lines) == 1
    assert lines[0].startswith("warning: the entries cam (12, 12, 3) and grid (12, 12, 3) are")
    assert lines[0].endswith("silences this warning\n") and lines[0].count("\n") == 1


@pytest.mark.parametrize("word", ["cnn", "grid"])
def test_words_that_the_observations_do_not_fit(word):
    vector = floats(4)
    with pytest.raises(ValueError, match=rf"encoder='{word}'.* takes .*, but the observation is Box\(0.0, 1.0, \(4,\)"):
        make_encoder(vector, word)
    both = spaces.Dict(place=vector, code=spaces.Discrete(3))
    with pytest.raises(ValueError, match=f"encoder='{word}'.*, but no entry of the observation is of that kind"):
        make_encoder(both, word)
    with pytest.raises(ValueError, match=f"encoder='{word}'.*, but the entry 'place' is Box"):
        make_encoder(both, {"place": word})


def test_cnn_policy_of_numbers():
    with pytest.raises(ValueError, match=r"CnnPolicy asks, takes pictures .*, but the observation is Box\(.*\(4,\)"):
        RecurrentPPO("CnnPolicy", "CartPole-v1", device="cpu")


def test_other_words_and_names():
    for wrong in ("nature", None, {"view": "cnn"}):
        with pytest.raises(ValueError, match="encoder must be one of auto, grid, cnn, flat, not"):
            encoder_for(image(7, 7, 3), wrong)
    both = spaces.Dict(camera=image(40, 40, 3), view=image(20, 20, 3))
    with pytest.raises(
        ValueError, match="encoder of an entry must be one of auto, grid, cnn, flat, none, not 'nature'"
    ):
        make_encoder(both, {"view": "nature"})
    with pytest.raises(ValueError, match="encoder: there is no entry 'map'; there are camera, view"):
        make_encoder(both, {"map": "cnn"})
    with pytest.raises(ValueError, match="but the entry 'camera' is Box"):
        make_encoder(both, "grid")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kinds = {name: type(own) for name, own in make_encoder(both, {"view": "grid"}).encoders.items()}
    assert kinds == {"camera": PictureEncoder, "view": GridEncoder}


@pytest.mark.parametrize("side", [12, 40])
def test_either_way_round_the_numbers_are_the_same(side):
    last, first = PictureEncoder(image(side, side + 1, 3), 16), PictureEncoder(image(3, side, side + 1), 16)
    first.load_state_dict(last.state_dict())
    pictures = torch.rand(4, side, side + 1, 3)
    torch.testing.assert_close(last(pictures), first(pictures.permute(0, 3, 1, 2)))
    if side == 40:  # as SB3 has it
        nature = NatureCNN(image(3, side, side + 1), 16)
        nature.load_state_dict({name.removeprefix("layers."): weight for name, weight in last.state_dict().items()})
        torch.testing.assert_close(nature(pictures.permute(0, 3, 1, 2)), last(pictures))


def test_small_pictures_differ_by_every_pixel():
    torch.manual_seed(0)
    encoder = PictureEncoder(image(10, 12, 3))
    dark = torch.zeros(1, 10, 12, 3)
    for place in ((0, 0, 0), (9, 11, 2), (4, 5, 1)):
        other = dark.clone()
        other[(0, *place)] = 0.5
        assert not torch.equal(encoder(other), encoder(dark))


# --- through agents -------------------------------------------------------------------------------------------------

SPACES = {
    "hwc": image(36, 38, 3),
    "chw": image(3, 36, 38),
    "grey": image(36, 36, 1),
    "small": image(12, 12, 3),
    "small chw": image(3, 12, 12),
    "grid": image(7, 7, 3),
    "floats": floats(36, 36, 3),
    "floats chw": floats(3, 36, 36),
    "two cameras": spaces.Dict(left=image(36, 36, 3), right=image(36, 38, 3)),
    "both ways": spaces.Dict(left=image(3, 36, 36), right=image(36, 36, 3)),
    "camera and grid": spaces.Dict(camera=image(36, 36, 3), grid=image(7, 7, 3), place=spaces.Discrete(3)),
    "camera and planes": spaces.Dict(camera=image(36, 36, 3), planes=image(3, 9, 9)),
    "camera and floats": spaces.Dict(camera=image(36, 36, 3), depth=floats(36, 36, 1)),
}
AGENTS = {
    "ppo": (RecurrentPPO, {"n_steps": 4, "n_epochs": 1, "policy_kwargs": {"core_kwargs": {"hidden_size": 4}}}),
    "nec": (NEC, {"learning_starts": 4, "batch_size": 4}),
    "mfec": (MFEC, {}),
}


def kinds_of(agent):
    extractor = agent.policy.features_extractor
    return {name: type(own) for name, own in extractor.encoders.items()} if hasattr(extractor, "encoders") else None


@pytest.mark.filterwarnings("ignore:.*is taken for")
@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy"])
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", AGENTS)
def test_pictures_are_learned_from_acted_on_saved_and_gone_on_with(kind, name, policy, tmp_path):
    if kind == "mfec" and policy == "CnnPolicy":
        policy = "MultiInputPolicy"
    kind, kwargs = AGENTS[kind]
    space = SPACES[name]

    def env():
        return DummyVecEnv([partial(World, space)] * 2)

    ours = kind(policy, env(), seed=0, device="cpu", **kwargs)
    ours.learn(8)
    # What gymnasium's environment returns, whichever way round the agent has it; one, and a batch.
    one = space.sample()
    action, _ = ours.predict(one, deterministic=True)
    assert np.shape(action) == ()
    batch = {entry: np.stack([v] * 3) for entry, v in one.items()} if isinstance(one, dict) else np.stack([one] * 3)
    assert ours.predict(batch, deterministic=True)[0].tolist() == [action] * 3
    wrapped = VecTransposeImage(env()) if ours.observation_space != space else env()
    seen = wrapped.reset()
    assert ours.predict(seen, deterministic=True)[0].shape == (2,)
    ours.save(tmp_path / "run")
    ours.policy.save(tmp_path / "policy")
    again = load_agent(tmp_path / "run", device="cpu")
    resumed = kind.resume(tmp_path / "run", env(), device="cpu")
    for other in (again, resumed):
        assert_same_weights(weights_of(ours), weights_of(other))
        assert other.predict(one, deterministic=True)[0] == action
    assert type(ours.policy).load(tmp_path / "policy", "cpu").predict(one, deterministic=True)[0] == action
    resumed.learn(8, reset_num_timesteps=False)
    assert len(evaluate(again, env(), 2).returns) == 2


def test_a_channels_last_observation_is_the_same_as_its_transposed():
    agent = RecurrentPPO("CnnPolicy", World(image(36, 38, 3)), n_steps=4, device="cpu")
    assert agent.observation_space.shape == (3, 36, 38)
    picture = image(36, 38, 3).sample()
    ours, batched = agent.policy.obs_to_tensor(picture)
    theirs, _ = agent.policy.obs_to_tensor(picture.transpose(2, 0, 1))
    assert not batched
    torch.testing.assert_close(ours, theirs)
    both = RecurrentPPO("MultiInputPolicy", World(SPACES["both ways"]), n_steps=4, device="cpu")
    seen = SPACES["both ways"].sample()
    for name, values in both.policy.obs_to_tensor(seen)[0].items():  # none is turned, each has its own order
        torch.testing.assert_close(values[0], torch.from_numpy(seen[name]))
    assert kinds_of(both) == {"left": NatureCNN, "right": PictureEncoder}


@pytest.mark.parametrize("space", [floats(3, 64, 64), floats(64, 64, 3)])
def test_cnn_policy_takes_pictures_of_floats_as_they_are(space):
    agent = RecurrentPPO("CnnPolicy", World(space), n_steps=4, device="cpu", policy_kwargs={"normalize_images": False})
    assert isinstance(agent.policy.features_extractor, NatureCNN if space.shape[0] == 3 else PictureEncoder)
    agent.learn(4)
    numbers = agent.policy._preprocess(torch.full((1, *space.shape), 0.5))
    assert numbers.unique().tolist() == [0.5]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("space", [image(12, 12, 3), image(36, 36, 3)])
def test_bytes_are_divided_once(space, normalize):
    agent = RecurrentPPO(
        "CnnPolicy", World(space), n_steps=4, device="cpu", policy_kwargs={"normalize_images": normalize}
    )
    numbers = agent.policy._preprocess(torch.full((1, *agent.observation_space.shape), 255, dtype=torch.uint8))
    assert numbers.unique().tolist() == [1 if normalize else 255]


def test_stacked_frames():
    env = VecFrameStack(DummyVecEnv([partial(World, image(36, 36, 3))]), 4)
    agent = RecurrentPPO("CnnPolicy", env, n_steps=4, device="cpu")
    assert agent.observation_space.shape == (12, 36, 36)
    agent.learn(4)
    assert np.shape(agent.predict(env.observation_space.sample())[0]) == ()


def test_the_words_for_entries_are_saved(tmp_path):
    space = spaces.Dict(camera=image(40, 40, 3), view=image(20, 20, 3))
    kwargs = {"policy_kwargs": {"encoder": {"view": "grid"}}, "n_steps": 4, "device": "cpu"}
    agent = RecurrentPPO("MultiInputPolicy", World(space), **kwargs)
    agent.save(tmp_path)
    assert kinds_of(load_agent(tmp_path, device="cpu")) == kinds_of(agent)
    assert kinds_of(agent)["view"] is GridEncoder
