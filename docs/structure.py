"""The house as its imports draw it: rooms, arrows between them, circles.

    python docs/structure.py                      # of this checkout
    python docs/structure.py --root ../before     # of another one
    python docs/structure.py --picture docs/architecture.png

A room is a folder of a package or a file on its top floor; an arrow from A to B says that a file of A imports one of B.
Imports for type checkers alone count as all others do. Nothing of the project is run.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro

PACKAGES = {"memagents": "memagents", "memenvs": "envs/memenvs"}


def modules(root: Path) -> dict[str, Path]:
    """Return the files of both packages by their module names."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = [package, *path.relative_to(root / folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """Return, for each module, the modules of both packages that it imports."""
    known = modules(root)
    return {name: set(_imported(ast.parse(path.read_text()), known)) - {name} for name, path in known.items()}


def _imported(tree: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module in known:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in below if name in known)
            if not all(name in known for name in below):
                yield node.module


def room_of(module: str) -> str:
    """Return the room of a module: its package's folder or its file on the top floor."""
    package, *rest = module.split(".")
    return package if package != "memagents" or not rest else ".".join([package, rest[0]])


def arrows(root: Path) -> dict[str, set[str]]:
    """Return, for each room, the rooms that it imports."""
    found: dict[str, set[str]] = {}
    for module, others in imports(root).items():
        found.setdefault(room_of(module), set()).update(room_of(other) for other in others)
    return {room: others - {room} for room, others in found.items()}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the sets of nodes that reach one another (Tarjan 1972), each sorted, those of one node left out."""
    import networkx as nx

    directed = nx.DiGraph([(node, other) for node, others in graph.items() for other in others])
    return sorted(sorted(part) for part in nx.strongly_connected_components(directed) if len(part) > 1)


def floors(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return for each room how high it stands: above everything that it imports, the ground being 0."""
    import networkx as nx

    directed = nx.DiGraph([(node, other) for node, others in graph.items() for other in others])
    directed.add_nodes_from(graph)
    height: dict[str, int] = {}
    for node in reversed(list(nx.topological_sort(directed))):
        height[node] = max((height[other] + 1 for other in directed.successors(node)), default=0)
    return height


@dataclass
class StructureSettings:
    """Settings of the report.

    :param root: of the checkout
    :param picture: PNG to draw, for docs/architecture.md
    """

    root: Path = Path(__file__).parents[1]
    picture: Path | None = None


def main(settings: StructureSettings) -> None:
    found, graph = modules(settings.root), arrows(settings.root)
    top = sum(
        name.count(".") == 1 and path.name != "__init__.py" for name, path in found.items() if "memagents" in name
    )
    print(f"{len(found)} files; {top} on the top floor of memagents")
    lines: dict[str, list[int]] = {}
    for name, path in found.items():
        lines.setdefault(room_of(name), []).append(len(path.read_text().splitlines()))
    for room in sorted(graph):
        others = ", ".join(sorted(other.removeprefix("memagents.") for other in graph[room]))
        print(f"  {room:<24}{len(lines[room]):>3} files {sum(lines[room]):>6} lines  → {others or '-'}")
    print(f"{sum(map(len, graph.values()))} arrows between rooms")
    for what, circle in (("rooms", circles(graph)), ("files", circles(imports(settings.root)))):
        print(f"circles of {what}: {'; '.join(' ⇄ '.join(names) for names in circle) or 'none'}")
    if settings.picture is not None:
        draw(graph, {room: sum(sizes) for room, sizes in lines.items()}, settings.picture)


def draw(graph: Mapping[str, set[str]], lines: Mapping[str, int], path: Path) -> None:
    """Draw the rooms floor by floor, each above all that it imports; arrows that follow from others are left out.

    :param graph: rooms and the rooms they import, without circles
    :param lines: of code in each room
    :param path: of the PNG
    """
    import networkx as nx
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    shown = {room: others for room, others in graph.items() if room.split(".")[-1] not in SMALL}
    height = floors({room: others & shown.keys() for room, others in shown.items()})
    levels = [sorted(room for room in shown if height[room] == level) for level in range(max(height.values()) + 1)]
    figure = Figure((10, 1.15 * len(levels) + 0.4), dpi=120, facecolor="#FCFBF8")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 10)
    axes.set_ylim(-0.6, len(levels) - 0.35)
    axes.axis("off")
    places = {}
    for level, rooms in enumerate(levels):
        for i, room in enumerate(rooms):
            places[room] = (10 * (i + 0.5 + 0.12 * (level % 2) * (len(rooms) > 1)) / len(rooms), level)
    whole = nx.DiGraph([(room, other) for room, others in shown.items() for other in others & shown.keys()])
    style = {"arrowstyle": "-|>", "color": "#5A6372", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    for room, other in nx.transitive_reduction(whole).edges:
        (x, y), (to_x, to_y) = places[room], places[other]
        axes.annotate("", (to_x, to_y + 0.24), (x, y - 0.24), arrowprops=style)
    for room, (x, y) in places.items():
        box = FancyBboxPatch((x - 0.95, y - 0.22), 1.9, 0.44, boxstyle="round,pad=0.02", fc="#E8EEF5", ec="#0B5FA5")
        box.set_zorder(4)  # above the arrows
        axes.add_patch(box)
        name = room.removeprefix("memagents.")
        axes.text(x, y + 0.05, name, ha="center", va="center", fontsize=11, weight="bold", color="#1B2130", zorder=5)
        axes.text(
            x, y - 0.12, f"{lines[room]:,} lines", ha="center", va="center", fontsize=8, color="#5A6372", zorder=5
        )
    FigureCanvasAgg(figure).print_png(path)


SMALL = (
    "memagents",
    "checks",
    "lazy",
    "moved",
    "__main__",
    "testing",
)  # files that everyone or no one imports: not drawn

if __name__ == "__main__":
    main(tyro.cli(StructureSettings, description=__doc__))
