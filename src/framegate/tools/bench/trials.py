"""The op's own tests, without which its times are not written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from framegate.errors import ConfigError

SHOWN_LINES = 12


def failed_trials(op: str, folder: Path) -> str | None:
    """Run the tests of an op, test_<op>*.py, in a process of their own.

    Args:
        op: name of the op.
        folder: where its tests are.

    Returns:
        The end of what pytest said; None when all passed.

    Raises:
        ConfigError: there are no tests of the op in the folder.

    Source: ours.
    """
    files = sorted(map(str, folder.glob(f"test_{op}*.py")))
    if not files:
        raise ConfigError(f"{folder} holds no tests of {op} (test_{op}*.py).")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-SHOWN_LINES:])
