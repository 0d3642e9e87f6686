"""Grid worlds: cells, what an agent in them sees, what its actions do, MiniGrid's levels, plans and pictures."""
