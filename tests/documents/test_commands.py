"""Every command in the documents, in the docstrings of scripts and in recipes can be typed as it stands."""

import ast
import functools
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import tyro
import yaml

from memagents.__main__ import DOORS
from memagents.command_line.evaluate import EvaluateCommand
from memagents.command_line.export import ExportCommand
from memagents.command_line.inspect import InspectCommand
from memagents.command_line.listing import KINDS
from memagents.experiments.catalogue import ALGORITHMS
from memagents.experiments.configuration import command_line, recipe_path
from memagents.experiments.options import parse_options
from memenvs.catalogue import find

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
SOURCES = [
    path for name in ("train", "benchmarks", "docs", "memagents", "envs") for path in (ROOT / name).rglob("*.py")
]
RECIPES = sorted((ROOT / "memagents" / "experiments" / "recipes").glob("*.yaml"))
PROGRAMS = r"python (?:train|benchmarks|docs)/\w+\.py|python -m mem(?:agents|envs)|memagents|make"
# A command fills a line (indented, or in a comment, perhaps after a word and a colon) or stands in backticks.
LAUNCHER = r"(?:torchrun (?:--[\w-]+[ =]\S+ )+-m )?"
COMMAND = re.compile(rf"(?:^(?:[ #]*| {{4}}|#.*: )|`){LAUNCHER}((?:{PROGRAMS})(?= |`|$)[^`\n]*)", re.MULTILINE)


def commands_in(text):
    """The commands in a text, without remarks behind them."""
    text = re.sub(r"\\\n\s*", "", text)  # one that goes on in the next line
    for command in COMMAND.findall(text):
        words = re.split(r"\s{2,}|\s#", command.strip())[0]
        if not re.match(r"(make|memagents) [a-z]+ [a-z]+ [a-z]+ ", words):  # a sentence
            yield words


def docstrings(path):
    """All docstrings of a source file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def all_commands():
    """Every command with the file it stands in."""
    found = {}
    for path in [*DOCUMENTS, *RECIPES]:
        for command in commands_in(path.read_text()):
            found.setdefault(command, path.name)
    for path in SOURCES:
        for text in docstrings(path):
            for command in commands_in(text):
                found.setdefault(command, path.name)
    return found


COMMANDS = all_commands()


def test_the_commands_are_found():
    """Else the tests below ask nothing."""
    assert len(COMMANDS) > 60
    assert {"make test", "memagents train ppo --recipe tmaze"} <= COMMANDS.keys()
    assert any(command.startswith("python train/tables.py --only") for command in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS), ids=lambda command: command[:70])
def test_a_command_can_be_typed(command):
    for placeholder in (" …", " ...", "…"):
        command = command.replace(placeholder, "")
    program, *words = shlex.split(command)
    if program == "make":
        targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(words) <= targets
        return
    if program == "python":
        script, words = (words[1], words[2:]) if words[0] == "-m" else (words[0], words[1:])
    else:
        script = program
    words = ["NAME" if word.isupper() and word != "NAME" else word for word in words]
    if script == "memagents":
        check_door(words)
    elif script == "memenvs":
        assert not words or ":" in words[0] or find(words[0])
    elif Path(script).stem in ALGORITHMS and script.startswith("train/"):
        check_settings(Path(script).stem, words)
    elif script == "train/evaluate.py":
        tyro.cli(EvaluateCommand, args=words)
    elif script == "train/inspect_memory.py":
        tyro.cli(InspectCommand, args=words)
    else:
        check_script(script, tuple(words))


@pytest.mark.parametrize("command", sorted(COMMANDS), ids=lambda command: command[:70])
def test_no_shell_reads_a_command_otherwise(command):
    """Brackets without quotes are a pattern of file names: in zsh, an error where no file has such a name.

    (So is a star, which some commands mean.)
    """
    outside = re.sub(r"'[^']*'|\"[^\"]*\"", "", command)
    assert not set("[]{}?$;<>()") & set(outside)


def check_door(words):
    """A command of memagents."""
    if not words or words[0] in ("--help", "--version", "COMMAND"):
        return
    door, *words = words
    assert door in DOORS
    if door == "train" and words and "{" not in words[0] and "|" not in words[0]:
        check_settings(words[0], words[1:])
    elif door == "evaluate" and words:
        tyro.cli(EvaluateCommand, args=words)
    elif door == "inspect" and words:
        tyro.cli(InspectCommand, args=words)
    elif door == "export" and words:
        tyro.cli(ExportCommand, args=words)
    elif door == "list" and words:
        assert set(re.split(r"[,|{}]", words[0])) - {""} <= KINDS.keys()
    elif door == "recipe" and words and words[0] != "NAME":
        recipe_path(words[0])


def check_settings(name, words):
    """The settings of a training, unless the words ask for help; a run to resume need not be there."""
    assert name in ALGORITHMS
    if {"--help", "--help-all", "--resume"} & set(words):
        return
    words = [word.removesuffix(".yaml") for word in words]  # a copy of a recipe
    if "NAME" in words:
        return
    try:
        command_line(ALGORITHMS[name].settings, words)
    except SystemExit as stop:
        raise AssertionError(f"{words} are no settings of {name}") from stop


@functools.cache
def names_in(script):
    """Return the names that a script defines; it may import files beside it."""
    name = f"documented_{Path(script).stem}"
    spec = importlib.util.spec_from_file_location(name, ROOT / script)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend((ROOT / script).parent)
        spec.loader.exec_module(module)
    return vars(module)


def check_script(script, words):
    """A script whose settings are a dataclass."""
    assert (ROOT / script).is_file(), f"there is no {script}"
    if not words or "--help" in words:
        return
    (settings,) = re.findall(r"(?:tyro\.cli|parse_options)\((\w+)", (ROOT / script).read_text())
    end = words.index("--") if "--" in words else len(words)
    if words[end + 1 :]:
        check_settings("ppo", words[end + 1 :])
    try:
        parse_options(names_in(script)[settings], words[:end], script)
    except SystemExit as stop:
        raise AssertionError(f"{words} are no settings of {script}") from stop


def test_a_wrong_command_is_seen():
    for wrong in ("python train/mfec.py --recipe mfec_underground", "python train/no.py", "memagents fly", "make tea"):
        with pytest.raises((AssertionError, ValueError)):
            test_a_command_can_be_typed(wrong)


def test_links_lead_somewhere():
    """Files that documents link to."""
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_what_pre_commit_and_citations_say_is_yaml():
    for name in (".pre-commit-config.yaml", "CITATION.cff"):
        assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict)
