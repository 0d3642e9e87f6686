"""Files of a run folder changed at random: a few of each kind, always the same ones; ``make fuzz`` tries thousands."""

import pytest

from tests.robustness.fuzz import READERS, attempt, sound


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return sound(tmp_path_factory.mktemp("fuzz") / "run")


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_or_refused_in_a_few_lines(name, folder):
    assert [found for seed in range(40) if (found := attempt(folder, name, seed))] == []


# What failed once, by the seeds that found it.
@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("config.yaml", 534),  # the algorithm a list
        ("recipe.yaml", 534),
        ("manifest.json", 10025),  # a size that is no finite number
        ("nec/memory.safetensors", 10132),  # order and numbers of entries of another kind
        ("alone.safetensors", 10015),  # weights of another size, told in eleven lines
        ("checkpoint/state.safetensors", 10463),  # an array where torch keeps a tensor
    ],
)
def test_what_failed_once(name, seed, folder):
    assert attempt(folder, name, seed) is None


def test_sound_files_are_read(folder):
    for readers in READERS.values():
        for reader in readers:
            reader(folder)
