"""The fonts that texts are set in, by split: a family belongs to one split alone."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from framegate.errors import ConfigError

_MATPLOTLIB = "matplotlib/mpl-data/fonts/ttf"
# split -> name of a font -> its file under site-packages
FONTS: dict[str, dict[str, str]] = {
    "train": {
        "dejavu_sans": f"{_MATPLOTLIB}/DejaVuSans.ttf",
        "dejavu_sans_bold": f"{_MATPLOTLIB}/DejaVuSans-Bold.ttf",
        "dejavu_sans_mono": f"{_MATPLOTLIB}/DejaVuSansMono.ttf",
        "stix": f"{_MATPLOTLIB}/STIXGeneral.ttf",
        "stix_bold": f"{_MATPLOTLIB}/STIXGeneralBol.ttf",
        "computer_modern": f"{_MATPLOTLIB}/cmr10.ttf",
        "computer_modern_bold": f"{_MATPLOTLIB}/cmb10.ttf",
        "computer_modern_sans": f"{_MATPLOTLIB}/cmss10.ttf",
        "computer_modern_mono": f"{_MATPLOTLIB}/cmtt10.ttf",
        "roboto": "font_roboto/files/Roboto-Regular.ttf",
        "roboto_bold": "font_roboto/files/Roboto-Bold.ttf",
        "source_sans": "font_source_sans_pro/files/SourceSansPro-Regular.ttf",
        "source_sans_bold": "font_source_sans_pro/files/SourceSansPro-Bold.ttf",
        "source_serif": "font_source_serif_pro/files/SourceSerifPro-Regular.ttf",
        "source_serif_bold": "font_source_serif_pro/files/SourceSerifPro-Bold.ttf",
        "source_serif_light": "font_source_serif_pro/files/SourceSerifPro-Light.ttf",
        "source_serif_black": "font_source_serif_pro/files/SourceSerifPro-Black.ttf",
        "lato": "font_lato/files/Lato-Regular.ttf",
        "lato_bold": "font_lato/files/Lato-Bold.ttf",
        "lato_black": "font_lato/files/Lato-Black.ttf",
        "roboto_black": "font_roboto/files/Roboto-Black.ttf",
        "fredoka": "font_fredoka_one/files/FredokaOne-Regular.ttf",
    },
    "validation": {"hanken_grotesk": "font_hanken_grotesk/files/HankenGrotesk-Medium.otf"},
    "test": {
        "dejavu_serif": f"{_MATPLOTLIB}/DejaVuSerif.ttf",
        "manrope": "font_manrope/files/Manrope-SemiBold.ttf",
        "caladea": "font_caladea/files/Caladea-Bold.ttf",
    },
}


@lru_cache(maxsize=256)
def font(name: str, size_px: int) -> Any:
    """Load a font.

    Args:
        name: as in FONTS.
        size_px: height of its em square.

    Returns:
        A font of Pillow.

    Raises:
        ConfigError: the package that carries it is not installed.

    Source: ours.
    """
    from PIL import ImageFont

    path = next(files[name] for files in FONTS.values() if name in files)
    package, _, inside = path.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"The font {name} needs the package {package.replace('_', '-')}: pip install 'framegate[eval]'."
        )
    return ImageFont.truetype(
        str(Path(spec.origin).parent / inside), size_px, layout_engine=ImageFont.Layout.BASIC
    )


@lru_cache(maxsize=4096)
def advance_px(name: str, size_px: int, letter: str) -> float:
    """How far a letter moves the pen, in pixels."""
    return float(font(name, size_px).getlength(letter))
