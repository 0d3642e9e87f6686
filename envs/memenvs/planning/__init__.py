"""Goal after goal in a new world: what is remembered of it serves to plan the way to goals never sought before."""
