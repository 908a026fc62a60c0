"""`framegate demo`: a page in the browser, for people who would rather look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framegate.cli.options import make_console

# the questions that framegate/nano was taught name tenths of a second
NANO_FPS = 4.0
# where the preset leaves the rate to the checkpoint; most of them take two
DEFAULT_FPS = 2.0


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Whom the page asks, where its sliders begin, and where it is; the options of `framegate demo`."""

    model: str | None
    preset: str
    tower_ratio: float
    keep_ratio: float
    fps: float | None
    overrides: dict[str, Any]
    max_new_tokens: int
    host: str
    port: int


def demo_command(options: DemoOptions) -> None:
    """Serve the page until it is stopped."""
    from framegate.cli.run import load_pair
    from framegate.models.nano import NANO
    from framegate.models.nano.asked import advice_on
    from framegate.tools.demo.compare import Asked, warm_up
    from framegate.tools.demo.page import demo_page, launch, require_gradio

    # what is missing or mistyped is told before a model is loaded
    require_gradio()
    settings = _settings(options, is_nano=options.model in (None, NANO))
    model, processor = load_pair(options.model)
    asked = Asked(
        model=model,
        processor=processor,
        name=options.model or NANO,
        preset=options.preset,
        overrides=options.overrides,
        max_new_tokens=options.max_new_tokens,
    )
    warm_up(asked)
    page = demo_page(asked, settings, advise=advice_on if asked.name == NANO else None)
    address = launch(page, host=options.host, port=options.port)
    make_console().print(f"Open {address} (Ctrl-C ends it)", highlight=False)
    page.block_thread()


def _settings(options: DemoOptions, *, is_nano: bool) -> dict[str, float]:
    """Where the sliders begin, by the settings' names; a preset whose sampler has no rate has no fps among them."""
    from framegate.tools.demo.compare import capped_config

    shares = {"tower_ratio": options.tower_ratio, "keep_ratio": options.keep_ratio}
    given = {} if options.fps is None else {"fps": options.fps}
    frames = capped_config(options.preset, {**options.overrides, **shares, **given}).frames.to_dict()
    if frames["sampler"] != "fps":
        return shares
    return {**shares, "fps": frames["fps"] or (NANO_FPS if is_nano else DEFAULT_FPS)}
