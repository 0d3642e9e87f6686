"""The tables and sections of docs/environments.md, from the docstrings of the environments, and a picture of each.

    python docs/make_environments.py            # the text, and what is missing of pictures and facts
    python docs/make_environments.py --anew     # all pictures and facts anew

Facts that take time to find out (whether the levels of each MiniGrid can be split follows from drawing them) are kept
in docs/environments/facts.json, so that the text is made in a moment. Text of the document outside the two markers is
written by hand and stays.
"""

import inspect
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from PIL import Image

import memenvs  # noqa: F401 — registers
from memagents.experiments.documents import markdown_table
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
class EnvironmentsPageSettings:
    """Settings of the page.

    :param anew: make all pictures and find out all facts anew; otherwise only those that are missing
    """

    anew: bool = False


@dataclass(frozen=True)
class Facts:
    """Facts from a definition, made with the parameters that an id is registered with."""

    observations: str
    actions: str
    action_names: list[str]
    metrics: list[str]
    goals: str
    oracle: bool
    split: bool


def main(settings: EnvironmentsPageSettings) -> None:
    """Write the text, the pictures and the facts, and remove pictures of environments that are gone."""
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
    """Return all environments by their classes."""
    found: dict[type, list[EnvSpec]] = {}
    for spec in environments().values():
        found.setdefault(environment_class(spec), []).append(spec)
    return found


def kept_facts() -> dict[str, Facts]:
    """Return the facts that were found out before, by id."""
    return {name: Facts(**facts) for name, facts in json.loads(FACTS.read_text()).items()} if FACTS.exists() else {}


def find_out(spec: EnvSpec) -> Facts:
    """Find out the facts of an id, which may take seconds."""
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
    """Return a space in words, without the bounds of its numbers."""
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
    """Return the overview, and a section for each class of environments."""
    kept, rows, sections = kept_facts(), [], []
    for cls, specs in groups().items():
        facts = [find_out(specs[0])] if len(specs) == 1 else [kept[spec.id] for spec in specs]
        rows.append(overview_row(cls, specs, facts))
        sections.append(section(cls, specs, facts))
    overview = markdown_table(["environment", "what it is", "oracle", "split"], rows)
    return "\n\n".join(["\n".join(overview), *sections])


def overview_row(cls: type, specs: list[EnvSpec], facts: list[Facts]) -> list[str]:
    """Return the cells of a class of environments."""
    name = f"`{specs[0].id}`" if len(specs) == 1 else f"{cls.__name__}: {len(specs)} ids"
    said = [among([one.oracle for one in facts]), among([one.split for one in facts])]
    return [f"[{name}](#{cls.__name__.lower()})", markdown(describe(cls).summary), *said]


def section(cls: type, specs: list[EnvSpec], facts: list[Facts]) -> str:
    """Return the section of a class of environments."""
    description, alone = describe(cls), len(specs) == 1
    parts = [f"## {cls.__name__}"]
    if alone:
        parts += [f"`{specs[0].id}`", f"![{specs[0].id}]({picture_path(specs[0]).relative_to(DOCS)})"]
    parts += [markdown(description.summary), paragraphs(description.body)]
    parts.append(facts_table(facts[0], "" if alone else f" of `{specs[0].id}`"))
    parts.append(parameter_table(specs, description.parameters))
    if not alone:
        parts.append(id_table(specs, facts))
    return "\n\n".join(part for part in parts if part)


def facts_table(facts: Facts, whose: str) -> str:
    """Return the facts of an id."""
    names = ", ".join(f"{number} {name}" for number, name in enumerate(facts.action_names))
    rows = [
        ["observation space", f"`{facts.observations}`"],
        ["action space", f"`{facts.actions}`{f': {names}' if names else ''}"],
        ["metrics", ", ".join(f"`{name}`" for name in facts.metrics)],
    ]
    if facts.goals:
        rows.append(["goals of `GoalView`", f"`{facts.goals}`"])
    rows.append(["oracle, split", f"{yes(facts.oracle)}, {yes(facts.split)}"])
    return "\n".join(markdown_table([f"default{whose}", ""], rows))


def parameter_table(specs: list[EnvSpec], meanings: dict[str, str]) -> str:
    """Return parameters, their defaults (where they are the same for all ids) and their meanings."""
    rows = []
    for name, parameter in parameters(specs[0]).items():
        defaults = {repr(parameters(spec)[name].default) for spec in specs}
        shown = f"`{parameter.default!r}`" if parameter.default is not inspect.Parameter.empty else ""
        rows.append([f"`{name}`", "as the id says" if len(defaults) > 1 else shown, markdown(meanings.get(name, ""))])
    return "\n".join(markdown_table(["parameter", "default", ""], rows)) if rows else ""


def id_table(specs: list[EnvSpec], facts: list[Facts]) -> str:
    """Return the ids of a class with the parameters they are registered with, but for one that repeats the id."""
    rows = []
    for spec, known in zip(specs, facts, strict=True):
        given = [f"{name}={value!r}" for name, value in spec.kwargs.items() if spec.id != f"memenvs/{value}"]
        image = f'<img src="{picture_path(spec).relative_to(DOCS)}" width="96" alt="">'
        shown = f"`{', '.join(given)}`" if given else ""
        rows.append([f"`{spec.id}`", shown, yes(known.oracle), yes(known.split), image])
    return "\n".join(markdown_table(["id", "parameters", "oracle", "split", ""], rows))


def among(having: list[bool]) -> str:
    """Return whether all have something, or how many."""
    return yes(having[0]) if len(set(having)) == 1 else f"{sum(having)} of {len(having)}"


def yes(fact: bool) -> str:
    """Return a fact in a word."""
    return "yes" if fact else "no"


def markdown(text: str) -> str:
    """Translate a paragraph of reStructuredText, as far as docstrings here use it."""
    text = re.sub(r":\w+:`~?([^`]*)`", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    return text.replace("``", "`")


def paragraphs(body: str) -> str:
    """Translate reStructuredText: paragraphs, lists, and the indented blocks that two colons announce."""
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
    """Return a PNG of an episode, half-way between the first action that matters and the last."""
    env = gymnasium.make(spec.id, render_mode="rgb_array", disable_env_checker=True).unwrapped
    decisive = max((list(episode(env, seed)) for seed in range(EPISODES)), key=len)
    moment = decisive[len(decisive) // 2]
    next(place for place in episode(env, moment[0]) if place == moment)
    image = np.asarray(env.render())
    env.close()
    return small_png(image)


def episode(env: Any, seed: int) -> Iterator[tuple[int, int]]:
    """Play an episode; yield the seed and the number of the step before every step that matters.

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
    """Return a picture as PNG: no wider than it is shown, and of few colours."""
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
    main(tyro.cli(EnvironmentsPageSettings, description=__doc__))
