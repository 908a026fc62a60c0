"""Video agents: a model that asks for more of a video before it answers."""
