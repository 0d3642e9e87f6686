"""Neural Episodic Control (Pritzel et al. 2017): the differentiable neural dictionary, its search, the agents."""
