"""The environments of POPGym (Morad et al. 2023, arXiv:2303.01859), bit for bit.

A level keeps its ``seed``: its episode is that of POPGym 1.0.7 after ``reset(seed=level["seed"])``, with the same
observations, rewards and ends for the same actions.
"""
