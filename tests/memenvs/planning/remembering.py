"""An agent that remembers all that it has seen in an episode, and knows nothing else."""

from collections import deque


class Remembering:
    """Goes a known way to the goal, or else to the nearest state with an action not yet tried, and tries that.

    :param moves: the number of actions that lead from state to state, from 0
    """

    def __init__(self, moves):
        self.moves, self.after = moves, {}

    def act(self, here, goal):
        """Return the action in a state that is not the goal."""
        way = self.search(here, lambda state: state == goal)
        if way is None:
            way = self.search(here, lambda state: len(self.after.get(state, ())) < self.moves)
        if way:
            return way[0]
        return next(action for action in range(self.moves) if action not in self.after.get(here, ()))

    def see(self, here, action, there):
        """Remember where an action has led."""
        self.after.setdefault(here, {})[action] = there

    def search(self, here, wanted):
        """Return the actions of a shortest way to a state, through what is known; None where there is none."""
        ways, queue = {here: []}, deque([here])
        while queue:
            state = queue.popleft()
            if wanted(state):
                return ways[state]
            for action, there in self.after.get(state, {}).items():
                if there not in ways:
                    ways[there] = [*ways[state], action]
                    queue.append(there)
        return None
