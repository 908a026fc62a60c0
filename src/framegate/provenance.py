"""Which code ran: the commit that files of results name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

COMMIT_VARIABLE = "FRAMEGATE_COMMIT"


def commit() -> str:
    """Short hash of the checkout that tracks this package, with "+" where files differ from it; "" outside one.

    The variable FRAMEGATE_COMMIT says it where a copy of a checkout came without its history.
    """
    if os.environ.get(COMMIT_VARIABLE):
        return os.environ[COMMIT_VARIABLE]
    here = Path(__file__).resolve()
    # an environment that lies inside somebody's repository is not that repository's commit
    if not _git(here.parent, "ls-files", here.name):
        return ""
    return _git(here.parent, "describe", "--always", "--dirty=+", "--exclude=*")


def _git(folder: Path, *words: str) -> str:
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""
