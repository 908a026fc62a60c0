"""Renders dense video and asks about it; the answers come from the script that was drawn."""

from framegate.tools.evaluation.generator.write import write_dataset

__all__ = ["write_dataset"]
