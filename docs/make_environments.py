"""The tables and sections of docs/environments.md, from the docstrings of the environments, and a picture of each.

    python docs/make_environments.py            # the text, and what is missing of pictures and facts
    python docs/make_environments.py --anew     # all pictures and facts anew

Facts that take time to find out (whether the levels of each MiniGrid can be split follows from drawing them) are kept
in docs/environments/facts.json, so that the text is made in a moment. What stands in the document outside of the two
markers is written by hand and stays.
"""

import inspect
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium
import numpy as np
import tyro
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from PIL import Image

import memenvs  # noqa: F401 — registers
from memenvs.catalogue import (
    definition_of,
    describe,
    environment_class,
    environments,
    has_oracle,
    has_split,
    parameters,
)

DOCS = Path(__file__).parent
DOCUMENT, PICTURES = DOCS / "environments.md", DOCS / "environments"
FACTS = PICTURES / "facts.json"
BEGIN, END = "<!-- written by docs/make_environments.py -->", "<!-- end of what it writes -->"
WIDEST, MOST_BYTES = 480, 60_000  # of a picture
LONGEST = 2_000  # steps of an episode for a picture
EPISODES = 8  # the longest of so many is drawn


@dataclass
class Settings:
    """Settings of a run.

    :param anew: make all pictures and find out all facts anew; otherwise only those that are missing
    """

    anew: bool = False


@dataclass(frozen=True)
class Facts:
    """The facts of a definition, with the parameters that an id is registered with."""

    observations: str
    actions: str
    action_names: list[str]
    metrics: list[str]
    goals: str
    oracle: bool
    split: bool


def main(settings: Settings) -> None:
    """Write the text, the pictures and the facts, and remove pictures of what is no longer there."""
    PICTURES.mkdir(exist_ok=True)
    known = {} if settings.anew else kept_facts()
    many = [spec for specs in groups().values() if len(specs) > 1 for spec in specs]
    known = {spec.id: known.get(spec.id) or find_out(spec) for spec in many}
    FACTS.write_text(json.dumps({name: asdict(facts) for name, facts in known.items()}, indent=1) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{generated()}\n\n{END}{rest.partition(END)[2]}")
    wanted = {picture_path(spec): spec for spec in environments().values()}
    for path, spec in wanted.items():
        if settings.anew or not path.exists():
            path.write_bytes(picture(spec))
            print(path.relative_to(DOCS.parent), f"{path.stat().st_size / 1000:.1f} kB", flush=True)
    for path in set(PICTURES.glob("*.png")) - wanted.keys():
        path.unlink()


# --- facts ------------------------------------------------------------------------------------------------------------


def groups() -> dict[type, list[EnvSpec]]:
    """All environments by their classes."""
    found: dict[type, list[EnvSpec]] = {}
    for spec in environments().values():
        found.setdefault(environment_class(spec), []).append(spec)
    return found


def kept_facts() -> dict[str, Facts]:
    """The facts that were found out before, by id."""
    return {name: Facts(**facts) for name, facts in json.loads(FACTS.read_text()).items()} if FACTS.exists() else {}


def find_out(spec: EnvSpec) -> Facts:
    """The facts of an id, which may take seconds."""
    definition = definition_of(spec)
    return Facts(
        observations=in_words(definition.observation_space),
        actions=in_words(definition.action_space),
        action_names=list(definition.action_names),
        metrics=list(definition.metrics),
        goals=in_words(definition.goals.space) if definition.goals else "",
        oracle=has_oracle(definition),
        split=has_split(definition),
    )


def in_words(space: spaces.Space) -> str:
    """A space without the bounds of its numbers."""
    if isinstance(space, spaces.Dict):
        return "Dict(" + ", ".join(f"{name}: {in_words(entry)}" for name, entry in space.spaces.items()) + ")"
    if isinstance(space, spaces.Box):
        return f"Box({space.shape}, {space.dtype})"
    if isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.tolist()
        alike = space.nvec.ndim == 1 and len(sizes) > 4 and len(set(sizes)) == 1
        return f"MultiDiscrete([{sizes[0]}] * {len(sizes)})" if alike else f"MultiDiscrete({sizes})"
    return " ".join(str(space).split())


# --- the text ---------------------------------------------------------------------------------------------------------


def generated() -> str:
    """The overview, and a section for each class of environments."""
    kept, rows, sections = kept_facts(), [], []
    for cls, specs in groups().items():
        facts = [find_out(specs[0])] if len(specs) == 1 else [kept[spec.id] for spec in specs]
        rows.append(overview_row(cls, specs, facts))
        sections.append(section(cls, specs, facts))
    head = ["| environment | what it is | oracle | split |", "|---|---|---|---|"]
    return "\n\n".join(["\n".join(head + rows), *sections])


def overview_row(cls: type, specs: list[EnvSpec], facts: list[Facts]) -> str:
    """A class of environments in one line."""
    name = f"`{specs[0].id}`" if len(specs) == 1 else f"{cls.__name__}: {len(specs)} ids"
    said = f"{among([one.oracle for one in facts])} | {among([one.split for one in facts])}"
    return f"| [{name}](#{cls.__name__.lower()}) | {cell(markdown(describe(cls).summary))} | {said} |"


def section(cls: type, specs: list[EnvSpec], facts: list[Facts]) -> str:
    """All that is to be said of a class of environments."""
    description, alone = describe(cls), len(specs) == 1
    parts = [f"## {cls.__name__}"]
    if alone:
        parts += [f"`{specs[0].id}`", f"![{specs[0].id}]({picture_path(specs[0]).relative_to(DOCS)})"]
    parts += [markdown(description.summary), paragraphs(description.body)]
    parts.append("\n".join(facts_table(facts[0], "" if alone else f" of `{specs[0].id}`")))
    parts.append(parameter_table(specs, description.parameters))
    if not alone:
        parts.append(id_table(specs, facts))
    return "\n\n".join(part for part in parts if part)


def facts_table(facts: Facts, whose: str) -> Iterator[str]:
    """The facts of an id."""
    names = ", ".join(f"{number} {name}" for number, name in enumerate(facts.action_names))
    yield f"| default{whose} | |"
    yield "|---|---|"
    yield f"| observation space | `{facts.observations}` |"
    yield f"| action space | `{facts.actions}`{f': {cell(names)}' if names else ''} |"
    yield f"| metrics | {', '.join(f'`{name}`' for name in facts.metrics)} |"
    if facts.goals:
        yield f"| goals of `GoalView` | `{facts.goals}` |"
    yield f"| oracle, split | {yes(facts.oracle)}, {yes(facts.split)} |"


def parameter_table(specs: list[EnvSpec], meanings: dict[str, str]) -> str:
    """Parameters, their defaults (where they are the same for all ids) and their meanings."""
    lines = ["| parameter | default | |", "|---|---|---|"]
    for name, parameter in parameters(specs[0]).items():
        defaults = {repr(parameters(spec)[name].default) for spec in specs}
        shown = f"`{parameter.default!r}`" if parameter.default is not inspect.Parameter.empty else ""
        shown = "as the id says" if len(defaults) > 1 else shown
        lines.append(f"| `{name}` | {cell(shown)} | {cell(markdown(meanings.get(name, '')))} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def id_table(specs: list[EnvSpec], facts: list[Facts]) -> str:
    """The ids of a class, with what they are registered with; that they are called as they are need not be said."""
    lines = ["| id | parameters | oracle | split | |", "|---|---|---|---|---|"]
    for spec, said in zip(specs, facts, strict=True):
        given = [f"{name}={value!r}" for name, value in spec.kwargs.items() if spec.id != f"memenvs/{value}"]
        image = f'<img src="{picture_path(spec).relative_to(DOCS)}" width="96" alt="">'
        shown = cell(f"`{', '.join(given)}`" if given else "")
        lines.append(f"| `{spec.id}` | {shown} | {yes(said.oracle)} | {yes(said.split)} | {image} |")
    return "\n".join(lines)


def among(having: list[bool]) -> str:
    """Return whether all have something, or the number that have it."""
    return yes(having[0]) if len(set(having)) == 1 else f"{sum(having)} of {len(having)}"


def yes(fact: bool) -> str:
    return "yes" if fact else "no"


def cell(text: str) -> str:
    """Return a text that may stand in a table."""
    return text.replace("|", "\\|")


def markdown(text: str) -> str:
    """From reStructuredText, as far as docstrings here use it, within a paragraph."""
    text = re.sub(r":\w+:`~?([^`]*)`", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    return text.replace("``", "`")


def paragraphs(body: str) -> str:
    """From reStructuredText: paragraphs, lists, and indented blocks after a paragraph that ends with two colons."""
    made: list[str] = []
    literal = False
    for block in re.split(r"\n\n+", body):
        if literal and block.startswith("    "):
            code = "\n".join(line[4:] for line in block.split("\n"))
            together = made[-1].endswith("\n```")
            made[-1:] = [f"{made[-1][:-4]}\n\n{code}\n```"] if together else [made[-1], f"```text\n{code}\n```"]
            continue
        literal = block.endswith("::")
        block = re.sub(r"^- ([A-Z]\w*|``info``): ", r"- **\1**: ", block, flags=re.MULTILINE)
        made.append(markdown(block[:-1] if literal else block))
    return "\n\n".join(made)


# --- the pictures -----------------------------------------------------------------------------------------------------


def picture_path(spec: EnvSpec) -> Path:
    """Return the path of an environment's picture."""
    return PICTURES / f"{spec.name}.png"


def picture(spec: EnvSpec) -> bytes:
    """A PNG of an episode, half-way between the first action that matters and the last."""
    env = gymnasium.make(spec.id, render_mode="rgb_array", disable_env_checker=True).unwrapped
    decisive = max((list(episode(env, seed)) for seed in range(EPISODES)), key=len)
    moment = decisive[len(decisive) // 2]
    next(place for place in episode(env, moment[0]) if place == moment)
    array = env.render()
    env.close()
    return small_png(array)


def episode(env, seed: int) -> Iterator[tuple[int, int]]:
    """Play an episode; before every step that matters, the seed and the number of the step.

    The oracle acts, where there is one; otherwise actions are drawn among those that do something.
    """
    _, info = env.reset(seed=seed)
    rng, oracle = np.random.default_rng(seed), has_oracle(env.definition)
    for step in range(LONGEST):
        if info["decision"]:
            yield seed, step
        action = np.maximum(env.oracle(), 0) if oracle else env.random_walk(rng)
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return


def small_png(array: np.ndarray) -> bytes:
    """A picture as PNG: no wider than it is shown, and of few colours."""
    image = Image.fromarray(array)
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    for colours in (64, 32, 16, 8):
        buffer = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()


if __name__ == "__main__":
    main(tyro.cli(Settings))
