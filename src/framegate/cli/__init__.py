"""The command line: `framegate plan | view | run | eval | bench | doctor`; torch loads with the command that needs it."""

from framegate.cli.app import app

__all__ = ["app"]
