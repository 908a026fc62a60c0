"""The command line: `framegate plan | view | run | doctor`. Torch loads with the command that needs it."""

from framegate.cli.app import app

__all__ = ["app"]
