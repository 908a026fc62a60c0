"""Names the packages. The shelves lie at the top of the checkout; src/framegate links to them.

A checkout without symbolic links (Windows, some archives) has files of text in their places; there the shelves are
taken from where they lie.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import SetupError

PACKAGE = Path("src/framegate")
SHELVES = ("configs", "kernels", "models", "tokenizers")


class Unlinked(editable_wheel):
    """What setuptools would make finds no folder that has no __init__.py below a package that has one."""

    def run(self):
        """Refuse."""
        raise SetupError(
            f"{PACKAGE / unlinked[0]} is no link: an editable install needs symbolic links. Take `pip install .`, or "
            "clone anew with `git clone -c core.symlinks=true` (on Windows with developer mode on)."
        )


unlinked = [shelf for shelf in SHELVES if not (PACKAGE / shelf).is_dir()]
packages = find_namespace_packages("src")
for shelf in unlinked:
    packages += [
        f"framegate.{shelf}",
        *(f"framegate.{shelf}.{name}" for name in find_namespace_packages(shelf)),
    ]

setup(
    packages=packages,
    package_dir={"": "src"} | {f"framegate.{shelf}": shelf for shelf in unlinked},
    cmdclass={"editable_wheel": Unlinked} if unlinked else {},
)
