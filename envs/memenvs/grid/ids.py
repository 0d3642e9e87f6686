"""The ids of MiniGrid that memenvs provides: all but the ``WFC`` ids and those of BabyAI."""

from __future__ import annotations

FAMILIES = {
    "Memory": "S7-v0 S9-v0 S11-v0 S13-v0 S13Random-v0 S17Random-v0",
    "Empty": "-5x5-v0 -6x6-v0 -8x8-v0 -16x16-v0 -Random-5x5-v0 -Random-6x6-v0",
    "FourRooms": "-v0",
    "DoorKey": "-5x5-v0 -6x6-v0 -8x8-v0 -16x16-v0",
    "MultiRoom": "-N2-S4-v0 -N4-S5-v0 -N4-S5-v1 -N6-v0",
    "LavaCrossing": "S9N1-v0 S9N2-v0 S9N3-v0 S11N5-v0",
    "SimpleCrossing": "S9N1-v0 S9N2-v0 S9N3-v0 S11N5-v0",
    "LavaGap": "S5-v0 S6-v0 S7-v0",
    "DistShift": "1-v0 2-v0",
    "KeyCorridor": "S3R1-v0 S3R2-v0 S3R3-v0 S4R3-v0 S5R3-v0 S6R3-v0",
    "Unlock": "-v0",
    "UnlockPickup": "-v0",
    "BlockedUnlockPickup": "-v0",
    "ObstructedMaze": "-1Dl-v0 -1Dlh-v0 -1Dlhb-v0 -2Dl-v0 -2Dlh-v0 -2Dlhb-v0 -1Q-v0 -2Q-v0 -Full-v0"
    " -2Dlhb-v1 -1Q-v1 -2Q-v1 -Full-v1",
    "RedBlueDoors": "-6x6-v0 -8x8-v0",
    "GoToDoor": "-5x5-v0 -6x6-v0 -8x8-v0",
    "GoToObject": "-6x6-N2-v0 -8x8-N2-v0",
    "Fetch": "-5x5-N2-v0 -6x6-N2-v0 -8x8-N3-v0",
    "PutNear": "-6x6-N2-v0 -8x8-N3-v0",
    "LockedRoom": "-v0",
    "Playground": "-v0",
    "Dynamic-Obstacles": "-5x5-v0 -6x6-v0 -8x8-v0 -16x16-v0 -Random-5x5-v0 -Random-6x6-v0",
}
NAMES = [f"MiniGrid-{family}{variant}" for family, variants in FAMILIES.items() for variant in variants.split()]
# The goal of each family, as the classes of minigrid.envs describe it.
GOALS = {
    "Memory": "Go to the object that was shown at the start of a corridor.",
    "Empty": "Go to the green square in an empty room.",
    "FourRooms": "Go to the green square in one of four connected rooms.",
    "DoorKey": "Take the key, open the door and go to the green square behind it.",
    "MultiRoom": "Go through a row of rooms, opening doors, to the green square in the last one.",
    "LavaCrossing": "Cross rivers of lava by their gaps and go to the green square.",
    "SimpleCrossing": "Cross walls by their gaps and go to the green square.",
    "LavaGap": "Go through the gap in a strip of lava to the green square.",
    "DistShift": "Go around lava to the green square; the two variants place the lava differently.",
    "KeyCorridor": "Find the key in another room, and pick up the object behind the locked door.",
    "Unlock": "Take the key and open the locked door.",
    "UnlockPickup": "Unlock a door and pick up the box in the other room.",
    "BlockedUnlockPickup": "Move the ball that blocks a locked door, unlock it and pick up the box behind it.",
    "ObstructedMaze": "Find keys, some hidden in boxes, pass doors, some blocked, and pick up the blue ball.",
    "RedBlueDoors": "Open the red door, then the blue one.",
    "GoToDoor": "Go to the door of the given colour.",
    "GoToObject": "Go to the object of the given kind and colour.",
    "Fetch": "Pick up the object of the given kind and colour.",
    "PutNear": "Put one given object next to another.",
    "LockedRoom": "Find the key to the locked room, and go to the green square in it.",
    "Playground": "Move among nine rooms with objects; there is no reward.",
    "Dynamic-Obstacles": "Go to the green square without touching the balls that move about.",
}
SUMMARIES = {
    f"MiniGrid-{family}{variant}": GOALS[family]
    for family, variants in FAMILIES.items()
    for variant in variants.split()
}
