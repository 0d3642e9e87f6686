"""What the tests of the Underground share: levels as plain graphs, observations as plain triples, a note-taker."""

import gymnasium as gym
import networkx as nx
import numpy as np

import memenvs  # noqa: F401  (registers the environments)

NAME = "memenvs/Underground-v0"
DESCRIPTION, QUERY, PLANNING, TRAVEL = range(4)


def make(n=64, seed=0, **parameters):
    envs = gym.make_vec(NAME, num_envs=n, **parameters)
    envs.reset(seed=seed)
    return envs


def single(**parameters):
    return gym.make(NAME, **parameters).unwrapped


def level_of(env):
    return env.batch.rows["level"][0]


def levels_of(parameters, n=None):
    n = n or (4 if np.max(parameters.get("stations", 0)) > 100 else 200)
    return make(n, **parameters).batch.rows["level"].copy()


def parse_lesson(row):
    """A row of the paper's tables of lessons: its number, and its ranges as pairs."""
    lesson, *ranges = row.replace(":", "").split()
    return int(lesson), [tuple(map(int, text.split("-"))) for text in ranges]


def edges_of(level):
    """(source, label, destination) of all edges."""
    return [tuple(edge[:3]) for edge in level["links"][: level["edges"]].tolist()]


def graph_of(level):
    graph = nx.MultiDiGraph([(u, v, {"label": label}) for u, label, v in edges_of(level)])
    graph.add_nodes_from(range(level["stations"]))
    return graph


def number(digits):
    """What three digits, each given as d + 1, are as a number; None where they are blank."""
    digits = [int(digit) - 1 for digit in digits]
    assert min(digits) >= 0 or digits == [-1] * 3
    return None if digits[0] < 0 else 100 * digits[0] + 10 * digits[1] + digits[2]


def read(observation):
    """(source, label, destination, phase), None for what is blank."""
    assert observation.dtype == np.uint8
    if len(observation) == 10:
        label = number(observation[3:6])
    else:
        label = None if observation[3] == 0 else int(observation[3]) - 1
    return number(observation[:3]), label, number(observation[-4:-1]), int(observation[-1])


def digits(code):
    return np.array([code // 100, code // 10 % 10, code % 10])


class Notes:
    """The map as the description told it."""

    def __init__(self):
        self.exits = {}

    def write(self, source, label, destination):
        assert (source, label) not in self.exits
        self.exits[source, label] = destination

    def walk(self, start, labels):
        stations = []
        for label in labels:
            start = self.exits[start, label]
            stations.append(start)
        return stations

    def graph(self):
        return nx.MultiDiGraph([(u, v, label) for (u, label), v in self.exits.items()])

    def way(self, start, goal):
        """The label of the first exit of a shortest way, and its length."""
        stations = nx.shortest_path(self.graph(), start, goal)
        labels = [label for (u, label), v in self.exits.items() if (u, v) == (stations[0], stations[1])]
        return labels[0], len(stations) - 1
