"""framegate/nano: a small real video LVLM of a stock transformers class, trained here on generated video."""

from __future__ import annotations

from pathlib import Path

from framegate.errors import ConfigError

NANO = "framegate/nano"
_SHIPPED = "framegate/"


def shipped_folder(name_or_path: str | Path) -> str | Path:
    """Turn the shipped model's name into its folder.

    Args:
        name_or_path: folder, hub id or "framegate/nano".

    Returns:
        The folder inside the package for "framegate/nano" (unless a folder of that name lies here), else the argument.

    Raises:
        ConfigError: another name that begins with "framegate/", which no hub has.
    """
    name = str(name_or_path)
    if not name.startswith(_SHIPPED) or Path(name).is_dir():
        return name_or_path
    if name != NANO:
        raise ConfigError(f"There is no model {name!r}; the one that ships is {NANO!r}.")
    import framegate

    return Path(framegate.__file__).parent / "assets" / "nano"
