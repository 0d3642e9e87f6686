"""A person in the place of the agent."""
