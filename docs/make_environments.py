"""The tables and sections of docs/environments.md, from the docstrings of the environments, and a picture of each.

    python docs/make_environments.py                # the text, and the pictures that are missing
    python docs/make_environments.py --pictures     # all pictures anew

The text needs nothing compiled; a picture of every environment takes minutes the first time. What stands in the
document before the first marker is written by hand and stays.
"""

import inspect
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
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
from memenvs.engine.definition import Definition

DOCS = Path(__file__).parent
DOCUMENT, PICTURES = DOCS / "environments.md", DOCS / "environments"
BEGIN, END = "<!-- written by docs/make_environments.py -->", "<!-- end of what it writes -->"
WIDEST, MOST_BYTES = 480, 60_000  # of a picture
LONGEST = 2_000  # steps of an episode for a picture
EPISODES = 8  # the longest of so many is drawn


@dataclass
class Settings:
    """What to make.

    :param pictures: make all pictures anew; otherwise only those that are missing
    """

    pictures: bool = False


def main(settings: Settings) -> None:
    """Write the text and the pictures, and remove pictures of what is no longer there."""
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{generated()}\n\n{END}{rest.partition(END)[2]}")
    PICTURES.mkdir(exist_ok=True)
    wanted = {picture_path(spec): spec for spec in environments().values()}
    for path, spec in wanted.items():
        if settings.pictures or not path.exists():
            path.write_bytes(picture(spec))
            print(path.relative_to(DOCS.parent), f"{path.stat().st_size / 1000:.0f} kB")
    for path in set(PICTURES.glob("*.png")) - wanted.keys():
        path.unlink()


# --- the text ---------------------------------------------------------------------------------------------------------


def generated() -> str:
    """The overview, and a section for each class of environments."""
    groups: dict[type, list[EnvSpec]] = {}
    for spec in environments().values():
        groups.setdefault(environment_class(spec), []).append(spec)
    overview = [
        "| environment | what it is | oracle | split |",
        "|---|---|---|---|",
        *(overview_row(cls, specs) for cls, specs in groups.items()),
    ]
    return "\n\n".join(["\n".join(overview), *(section(cls, specs) for cls, specs in groups.items())])


def overview_row(cls: type, specs: list[EnvSpec]) -> str:
    """A class of environments in one line."""
    name = f"`{specs[0].id}`" if len(specs) == 1 else f"{cls.__name__}: {len(specs)} ids"
    definitions = [definition_of(spec) for spec in specs]
    said = [among(has, definitions) for has in (has_oracle, has_split)]
    return f"| [{name}](#{cls.__name__.lower()}) | {cell(markdown(describe(cls).summary))} | {' | '.join(said)} |"


def section(cls: type, specs: list[EnvSpec]) -> str:
    """All that is to be said of a class of environments."""
    description, alone = describe(cls), len(specs) == 1
    parts = [f"## {cls.__name__}"]
    if alone:
        parts += [f"`{specs[0].id}`", f"![{specs[0].id}]({picture_path(specs[0]).relative_to(DOCS)})"]
    parts += [markdown(description.summary), paragraphs(description.body)]
    if alone:
        parts.append("\n".join(facts(definition_of(specs[0]))))
    parts.append(parameter_table(cls, specs, description.parameters))
    if not alone:
        parts += ["\n".join(facts(definition_of(specs[0]), f" of `{specs[0].id}`")), id_table(specs)]
    return "\n\n".join(part for part in parts if part)


def facts(definition: Definition, whose: str = "") -> Iterator[str]:
    """What a definition says."""
    names = ", ".join(f"{number} {name}" for number, name in enumerate(definition.action_names))
    yield f"| default{whose} | |"
    yield "|---|---|"
    yield f"| observation space | `{in_words(definition.observation_space)}` |"
    yield f"| action space | `{in_words(definition.action_space)}`{f': {cell(names)}' if names else ''} |"
    yield f"| metrics | {', '.join(f'`{name}`' for name in definition.metrics)} |"
    if definition.goals is not None:
        yield f"| goals of `GoalView` | `{in_words(definition.goals.space)}` |"
    if not whose:
        yield f"| oracle, split | {yes(has_oracle(definition))}, {yes(has_split(definition))} |"


def parameter_table(cls: type, specs: list[EnvSpec], told: dict[str, str]) -> str:
    """Parameters, their defaults (where they are the same for all ids) and their meanings."""
    lines = ["| parameter | default | |", "|---|---|---|"]
    for name in parameters(specs[0]):
        defaults = {repr(parameters(spec)[name].default) for spec in specs}
        shown = ""
        if len(defaults) > 1:
            shown = "as the id says"
        elif parameters(specs[0])[name].default is not inspect.Parameter.empty:
            shown = f"`{defaults.pop()}`"
        lines.append(f"| `{name}` | {cell(shown)} | {cell(markdown(told.get(name, '')))} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def id_table(specs: list[EnvSpec]) -> str:
    """The ids of a class, with what they are registered with."""
    lines = ["| id | parameters | oracle | split | |", "|---|---|---|---|---|"]
    for spec in specs:
        definition = definition_of(spec)
        given = ", ".join(f"{name}={value!r}" for name, value in spec.kwargs.items())
        image = f'<img src="{picture_path(spec).relative_to(DOCS)}" width="96" alt="">'
        said = f"{yes(has_oracle(definition))} | {yes(has_split(definition))}"
        lines.append(f"| `{spec.id}` | {cell(f'`{given}`' if given else '')} | {said} | {image} |")
    return "\n".join(lines)


def among(has, definitions: list[Definition]) -> str:
    """Whether all have something, or some, or none."""
    having = [has(definition) for definition in definitions]
    return yes(all(having)) if all(having) or not any(having) else f"{sum(having)} of {len(having)}"


def yes(fact: bool) -> str:
    return "yes" if fact else "no"


def in_words(space: spaces.Space) -> str:
    """A space without the bounds of its numbers."""
    if isinstance(space, spaces.Dict):
        return "Dict(" + ", ".join(f"{name}: {in_words(entry)}" for name, entry in space.spaces.items()) + ")"
    if isinstance(space, spaces.Box):
        return f"Box({space.shape}, {space.dtype})"
    if isinstance(space, spaces.MultiDiscrete):
        sizes = space.nvec.tolist()
        if space.nvec.ndim == 1 and space.nvec.size > 12 and len(set(sizes)) == 1:
            return f"MultiDiscrete([{sizes[0]}] * {len(sizes)})"
        return f"MultiDiscrete({sizes})" if space.nvec.size <= 100 else f"MultiDiscrete of shape {space.nvec.shape}"
    return " ".join(str(space).split())


def cell(text: str) -> str:
    """What may stand in a table."""
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
    """Where the picture of an environment is."""
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
