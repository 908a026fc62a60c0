"""The command line: `framegate plan | view | run | batch | serve | eval | bench | doctor`. Torch loads late."""

from framegate.cli.app import app

__all__ = ["app"]
