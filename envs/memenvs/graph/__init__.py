"""Navigation on graphs: random ones and the map of the London Underground."""
