"""The command line: `framegate plan | view | run | eval | bench | doctor`. Torch loads where it is needed."""

from framegate.cli.app import app

__all__ = ["app"]
