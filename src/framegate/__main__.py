"""`python -m framegate`: the command line, where the command itself is not on the path."""

from framegate.cli import app

if __name__ == "__main__":
    app(prog_name="framegate")
