"""Pictures of graphs show their arguments, and nothing on them covers anything else."""

import subprocess
import sys

import numpy as np
import pytest

from memenvs.graph import draw, network
from memenvs.graph.draw import ansi_journey, draw_journey
from memenvs.graph.layout import NAME, arrange, badge
from memenvs.graph.map import load_map
from memenvs.graph.network import draw_network
from memenvs.graph.schematic import schematic
from memenvs.render import text_size
from tests.memenvs.support.pictures import pixels

SIZE = (480, 360)
SQUARE = {
    "points": [[0, 0], [1, 0], [1, 1], [0, 1]],
    "edges": [(0, 1, 7), (1, 0, 2), (1, 2, 0), (2, 1, 5), (2, 3, 9), (3, 2, 4), (3, 0, 1)],
    "names": ["South West", "South East", "North East", "North West"],
    "edge_colours": None,
    "start": 0,
    "goal": 2,
    "position": 1,
    "route": [0, 1],
    "best": [0, 1, 2],
    "size": SIZE,
}


def tube_neighbourhood(seed, n):
    """A connected piece of the real map: points, edges, names, colours."""
    tube, rng = load_map(), np.random.default_rng(seed)
    chosen = [int(rng.integers(270))]
    while len(chosen) < n:
        station = tube.neighbours[rng.choice(chosen)]
        new = [int(v) for v in station if v >= 0 and v not in chosen]
        chosen += [int(rng.choice(new))] if new else []
    pairs = [(u, v) for u in chosen for v in chosen if (u, v) in tube.lines]
    edges = [(chosen.index(u), chosen.index(v), i % 10) for i, (u, v) in enumerate(pairs)]
    return tube.positions[chosen], edges, [tube.names[u] for u in chosen], [tube.colours(*pair) for pair in pairs]


def random_graph(seed, n):
    """Points in a square, each with exits to its two nearest."""
    rng = np.random.default_rng(seed)
    points = rng.random((n, 2))
    nearest = np.argsort(np.linalg.norm(points[:, None] - points, axis=2), axis=1)[:, 1:3]
    edges = [(u, int(v), i) for u in range(n) for i, v in enumerate(nearest[u])]
    return points, edges, [f"{rng.integers(1000):03d}" for _ in range(n)], None


# --- the journey ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(480, 360), (320, 240), (301, 517)])
def test_shape_and_type(size):
    picture = draw_journey(**SQUARE | {"size": size})
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 10


def test_same_journey_same_picture_and_every_part_changes_it():
    picture = draw_journey(**SQUARE)
    np.testing.assert_array_equal(picture, draw_journey(**SQUARE))
    changes = {
        "route": [0, 1, 0],
        "best": [0, 3, 2],
        "start": 3,
        "goal": 3,
        "position": 0,
        "names": ["A", "B", "C", "D"],
        "edges": [*SQUARE["edges"], (0, 3, 6)],
    }
    for name, value in changes.items():
        assert (draw_journey(**SQUARE | {name: value}) != picture).any(), name


def test_frames_of_an_episode_differ_only_near_the_journey():
    before, after = draw_journey(**SQUARE), draw_journey(**SQUARE | {"position": 2, "route": [0, 1, 2]})
    assert 0 < (before != after).any(axis=2).mean() < 0.05


def test_a_map_is_drawn_once_for_all_edges_of_its_description():
    draw._draw_map.cache_clear()
    told = {**SQUARE, "position": None, "route": [0]}
    frames = [draw_journey(**told, described=(u, v), caption=str(label)) for u, v, label in told["edges"]]
    assert draw._draw_map.cache_info().misses == 1
    assert len({frame.tobytes() for frame in frames}) == len(frames)
    draw._draw_map.cache_clear()
    first = told["edges"][0]
    np.testing.assert_array_equal(draw_journey(**told, described=first[:2], caption=str(first[2])), frames[0])


def test_the_network_is_drawn_once_for_all_captions():
    network._draw_map.cache_clear()
    journey = {"start": 3, "goal": 9, "position": None, "route": np.array([3]), "best": [3]}
    frames = [draw_network((480, 360), journey=journey, caption=caption) for caption in ("one", "another", "one")]
    assert network._draw_map.cache_info().misses == 1
    np.testing.assert_array_equal(frames[0], frames[2])
    assert (frames[0] != frames[1]).any()


def test_colours_say_what_happened():
    nothing = SQUARE | {"start": None, "goal": None, "position": None, "route": [], "best": []}
    picture, empty = draw_journey(**SQUARE), draw_journey(**nothing)
    for colour in (draw.ROUTE, draw.START, draw.GOAL, draw.AGENT):
        of_the_legend = pixels(empty, colour)
        assert pixels(picture, colour) > of_the_legend + 50, colour
    assert pixels(draw_journey(**SQUARE | {"route": [0, 1, 2]}), draw.ROUTE) > pixels(picture, draw.ROUTE) + 100


def test_lines_have_their_colours_side_by_side():
    colours = [["#B36305", "#00782A"] if {u, v} == {0, 1} else ["#003688"] for u, v, _ in SQUARE["edges"]]
    picture = draw_journey(**SQUARE | {"edge_colours": colours, "route": [], "best": []})
    counts = [pixels(picture, colour) for colour in ("#B36305", "#00782A", "#003688")]
    assert min(counts) > 400
    assert pixels(picture, "#9B0056") == 0


def test_only_one_way_edges_have_heads():
    both = SQUARE | {"edges": [*SQUARE["edges"], (0, 3, 8)]}
    pale = [pixels(draw_journey(**case), "#8B93A3") for case in (SQUARE, both)]
    assert pale[0] > pale[1] + 50  # the head is gone, a badge has come


def test_a_single_station_and_a_graph_without_edges():
    alone = {"edge_colours": None, "start": 0, "goal": None, "position": 0, "route": [0], "best": [], "size": SIZE}
    assert draw_journey([[3.0, 4.0]], [], ["Alone"], **alone).shape == (360, 480, 3)
    assert draw_journey([[1, 1], [1, 1]], [], ["Same", "Place"], **alone).shape == (360, 480, 3)


def test_an_agent_that_stayed_is_drawn_as_one_that_never_tried():
    stayed = draw_journey(**SQUARE | {"route": [0, 1, 1, 1]})
    np.testing.assert_array_equal(stayed, draw_journey(**SQUARE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [[0, 0]]}, "points"),
        ({"points": [[0, np.nan]] * 4}, "points"),
        ({"edges": [(0, 4, 1)]}, "edges"),
        ({"edges": [(0, 0, 1)]}, "edges"),
        ({"edge_colours": [["#000000"]]}, "edge_colours"),
        ({"start": -1}, "start"),
        ({"goal": 4}, "goal"),
        ({"position": 9}, "position"),
        ({"route": [0, 5]}, "route"),
        ({"best": [-2]}, "best"),
        ({"size": (10, 10)}, "size"),
        ({"size": (480.5, 360)}, "size"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=f"^{message} must"):
        draw_journey(**SQUARE | change)


def test_text_of_a_journey():
    journey = {key: SQUARE[key] for key in ("edges", "names", "start", "goal", "position", "route", "best")}
    text = ansi_journey(**journey).splitlines()
    assert text == [
        "at    South East",
        "      exit 2 → South West",
        "      exit 0 → North East",
        "start South West",
        "goal  North East",
        "route South West → South East",
        "best  South West → South East → North East",
    ]
    unknown = journey | {"start": None, "goal": None, "position": None, "route": [], "best": []}
    assert ansi_journey(**unknown) == ""
    with pytest.raises(ValueError, match="position must"):
        ansi_journey(**journey | {"position": 4})


# --- the layout -----------------------------------------------------------------------------------------------------


def distance(points, start, stop):
    """The least distance from a segment, of 100 places along it, to any of some points."""
    along = start + np.linspace(0, 1, 100)[:, None] * (stop - start)
    return np.linalg.norm(along[:, None] - points, axis=2).min()


@pytest.mark.parametrize("graph", [tube_neighbourhood, random_graph])
def test_schematic_keeps_stations_apart_and_off_the_lines(graph):
    straight, edge_count = 0, 0
    for seed in range(15):
        points, edges, _, _ = graph(seed, 4 + seed % 3)
        pairs = {(min(u, v), max(u, v)) for u, v, _ in edges}
        places = schematic(points, list(pairs))
        assert (places == np.round(places)).all()
        for u, v in pairs:
            others = np.delete(places, [u, v], axis=0)
            assert distance(others, places[u], places[v]) > 0.9
            before, after = points[v] - points[u], places[v] - places[u]
            assert before @ after > 0  # no edge is turned by more than a right angle
            straight += 0 in after or abs(after[0]) == abs(after[1])
            edge_count += 1
    assert straight > 0.8 * edge_count  # most edges lie in one of the eight directions


def test_schematic_does_not_depend_on_scale_place_or_direction():
    points, edges, _, _ = tube_neighbourhood(3, 6)
    pairs = [(u, v) for u, v, _ in edges]
    places = schematic(points, pairs)
    moved = schematic(4.0 * points, [(v, u) for u, v in reversed(pairs)])
    np.testing.assert_array_equal(places, moved)


def overlap(a, b):
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@pytest.mark.parametrize("graph", [tube_neighbourhood, random_graph])
def test_names_cover_nothing(graph):
    for seed in range(12):
        points, edges, names, colours = graph(seed, 4 + seed % 3)
        hashable = None if colours is None else tuple(map(tuple, colours))
        labelled = tuple((u, v, str(label)) for u, v, label in edges)
        layout = arrange(np.ascontiguousarray(points).tobytes(), labelled, tuple(names), hashable, (960, 720))
        sizes = [text_size(text, NAME * layout.unit, True) for _, _, text in layout.names]
        boxes = [
            (x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (x, y, _), (w, h) in zip(layout.names, sizes, strict=True)
        ]
        exits = [badge(exit, layout.unit) for exit in layout.exits.values()]
        for i, box in enumerate(boxes):
            assert box[0] >= 0 and box[1] >= 0 and box[2] <= 960 and box[3] <= 720
            assert not any(overlap(box, other) for other in boxes[:i] + exits)
            for u, v in layout.lines:
                along = layout.places[u] + np.linspace(0, 1, 200)[:, None] * (layout.places[v] - layout.places[u])
                inside = (along > box[:2]).all(axis=1) & (along < box[2:]).all(axis=1)
                assert not inside.any()
        assert [text.replace("\n", " ") for _, _, text in layout.names] == names


# --- the network ------------------------------------------------------------------------------------------------------


def test_network_shows_every_line_and_can_point_out_a_part():
    tube = load_map()
    picture = draw_network((600, 450))
    assert picture.shape == (450, 600, 3) and picture.dtype == np.uint8
    for colour in tube.line_colours:
        assert pixels(picture, colour) > 20, colour
    pointed = draw_network((600, 450), [tube.names.index(name) for name in ("Bank", "Waterloo")])
    assert (picture != pointed).any()
    assert pixels(pointed, "#9B0056") < pixels(picture, "#9B0056")  # pale, but in the legend
    with pytest.raises(ValueError, match="stations must"):
        draw_network((600, 450), [270])
    assert network._spread().shape == (270, 2)


def test_drawing_leaves_pyplot_alone():
    code = """if True:
        import sys
        from memenvs.graph.draw import draw_journey
        draw_journey([[0, 0], [1, 1]], [(0, 1, 3)], ["A", "B"], None, 0, 1, 0, [0], [0, 1], (200, 150))
        assert "matplotlib.pyplot" not in sys.modules and "pygame" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)
