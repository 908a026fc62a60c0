"""framegate/nano: a small real video LVLM of a stock transformers class, trained here on generated video."""

from __future__ import annotations

from pathlib import Path

NANO = "framegate/nano"


def shipped_folder(name_or_path: str | Path) -> str | Path:
    """Turn the shipped model's name into its folder.

    Args:
        name_or_path: folder, hub id or "framegate/nano".

    Returns:
        The folder inside the package for "framegate/nano" (unless a folder of that name lies here), else the argument.
    """
    if str(name_or_path) != NANO or Path(NANO).is_dir():
        return name_or_path
    import framegate

    return Path(framegate.__file__).parent / "assets" / "nano"
