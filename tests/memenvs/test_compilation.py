"""The cache of compiled code: found again by the next process, and never stale."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memenvs import compilation

ENVS = Path(__file__).parents[2] / "envs"

HELPER = """
from memenvs.compilation import njit

@njit
def helper(x):
    return x + {}
"""
MAIN = """
from memenvs.compilation import njit
from bought.helper import helper

@njit
def caller(x):
    return 2 * helper(x)

def close_over(function):
    @njit
    def closure(x):
        return 3 * function(x)
    return closure
"""
SCRIPT = """
from bought.main import caller, close_over
closure = close_over(caller)
print(closure(1), caller(1), sum(closure.stats.cache_hits.values()), sum(caller.stats.cache_hits.values()))
"""


def run_noting(folder: Path, code: str, cache: Path | str, *words: str) -> tuple[str, str]:
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ENVS}", "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def run(folder: Path, code: str, cache: Path | str) -> str:
    return run_noting(folder, code, cache)[0]


@pytest.fixture
def bought(tmp_path):
    package = tmp_path / "bought"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text(MAIN)
    (package / "helper.py").write_text(HELPER.format(1))
    return tmp_path


def test_code_is_found_again_and_an_edited_helper_noticed(bought, tmp_path):
    package = bought / "bought"
    cache = tmp_path / "cache"
    assert run(tmp_path, SCRIPT, cache) == "12 4 0 0"
    assert run(tmp_path, SCRIPT, cache) == "12 4 1 1"
    (package / "helper.py").write_text(HELPER.format(2))
    assert run(tmp_path, SCRIPT, cache) == "18 6 0 0"


def test_an_edit_in_any_sub_folder_of_memenvs_gives_another_cache(tmp_path, monkeypatch):
    helper = tmp_path / "graph" / "family" / "helper.py"
    helper.parent.mkdir(parents=True)
    helper.write_text(HELPER.format(1))
    monkeypatch.setattr(compilation, "PACKAGE", tmp_path)
    hashes = [compilation.source_hash.__wrapped__(None)]
    helper.write_text(HELPER.format(2))
    hashes.append(compilation.source_hash.__wrapped__(None))
    helper.rename(helper.with_name("renamed.py"))
    hashes.append(compilation.source_hash.__wrapped__(None))
    assert len(set(hashes)) == 3


@pytest.mark.skipif(os.name == "nt", reason="no such file there")
def test_without_a_place_to_write_it_still_runs(tmp_path):
    code = "from memenvs.compilation import njit; from memenvs.random import bits; print(bits(1) > 0)"
    assert run(tmp_path, code, "/dev/null") == "True"


def test_memenvs_needs_neither_torch_nor_memagents(tmp_path):
    code = (
        "import sys, gymnasium, memenvs, memenvs.catalogue, memenvs.testing\n"
        "for name in ('TMaze', 'Underground'): gymnasium.make(f'memenvs/{name}-v0')\n"
        "print({'torch', 'memagents', 'matplotlib', 'pygame'} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(ENVS)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_module_of_memenvs_imports_torch_or_what_stands_on_it():
    imported = set()
    for path in (ENVS / "memenvs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            imported |= {name.partition(".")[0] for name in names}
    assert {"numpy", "numba", "gymnasium", "memenvs"} <= imported
    assert not {"torch", "memagents", "stable_baselines3", "train", "tests"} & imported


COUNT = """
import warnings, sys
warnings.simplefilter("error" if sys.argv[1:] == ["quiet"] else "always")
from bought.main import caller
print(caller(1), sum(caller.stats.cache_hits.values()))
"""


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"no pickle at all", None])
def test_a_damaged_cache_is_made_anew(ending, damage, bought, tmp_path):
    cache = tmp_path / "cache"
    assert run_noting(bought, COUNT, cache, "quiet") == ("4 0", "")
    for path in cache.rglob(f"main.caller*.{ending}"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    result, said = run_noting(bought, COUNT, cache)
    assert result == "4 0" and said.count("UserWarning") == 1 and "holds a damaged file, which is made anew" in said
    assert run_noting(bought, COUNT, cache, "quiet") == ("4 1", ""), "the next process finds it whole"


def test_a_cache_that_cannot_be_written_is_done_without(bought, tmp_path, monkeypatch):
    from memenvs.compilation import ForgivingCache

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(ForgivingCache, "_warned", False)

    @compilation.njit
    def plus(x):
        return x + 1

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plus._cache._cache_file, "save", full)
    with pytest.warns(UserWarning, match="cannot be written, so that each process compiles for itself: .*No space"):
        assert plus(1) == 2
    assert plus(2) == 3


RECORDS = """
import numpy as np
from memenvs.compilation import njit

def record(size):
    made = np.zeros(1, [("first", np.int64, (size,)), ("last", np.int64)])
    made["first"], made["last"] = 7, 1234
    return made[0]

@njit
def digits(record, n):  # long, and called twice, so that it stays a function of its own
    total = 0
    for i in range(n):
        if record.last % 10 == i:
            for j in range(i):
                total += (record.last + j) % (i + 3) * (j + 1)
        else:
            total += i if record.last > i else record.last
        total = total * 3 + record.last
    return total

@njit
def both(record, n):
    return digits(record, n) - digits(record, n + 1) + record.last
"""
RECORD_SCRIPT = """
import sys
from bought.records import both, record
found = [both(record(size), 5) for size in map(int, sys.argv[1:])]
print(*found, sum(both.stats.cache_hits.values()))
"""


def test_code_of_two_processes_is_not_mixed_up(bought, tmp_path):
    """Numba gives functions of both the same name, although their records have different layouts."""
    (bought / "bought" / "records.py").write_text(RECORDS)
    cache = tmp_path / "cache"
    for size in ("2", "9"):
        assert run_noting(tmp_path, RECORD_SCRIPT, cache, size)[0] == "-299207 0"
    assert run_noting(tmp_path, RECORD_SCRIPT, cache, "2", "9")[0] == "-299207 -299207 2"


FORKED = """
import os
from memenvs.compilation import FunctionIdentity
for _ in range(2):
    child = os.fork()
    if child == 0:
        break
    os.waitpid(child, 0)
print(next(FunctionIdentity._unique_ids), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_processes_name_their_functions_differently(tmp_path):
    assert len(set(run(tmp_path, FORKED, tmp_path).split())) == 3


def test_processes_that_add_to_a_cache_at_the_same_time_do_not_find_the_others_code(tmp_path, monkeypatch):
    """Both have read the index; theirs is written after ours, but our code after theirs."""
    ours, theirs = (compilation._CacheFile(str(tmp_path), "function", "stamp") for _ in range(2))
    their_index, our_code, waiting = theirs._save_index, ours._save_data, []
    monkeypatch.setattr(ours, "_save_data", lambda *arguments: waiting.append(arguments))

    def after_ours(*arguments):
        ours.save("our types", "our code")
        their_index(*arguments)

    monkeypatch.setattr(theirs, "_save_index", after_ours)
    theirs.save("their types", "their code")
    our_code(*waiting[0])
    for file in (ours, theirs):
        assert file.load("their types") == "their code"
        assert file.load("our types") in ("our code", None)
