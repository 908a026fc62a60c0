"""The page itself, made of gradio's parts, and its server. Loads nothing from elsewhere and tells nobody of its use."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from framegate.errors import ConfigError, FramegateError
from framegate.tools.demo.compare import CAPS, Asked, Compared, compare
from framegate.tools.demo.told import CSS, LEGEND, account_html, answers_html, told_html

# clips that ship, with a question for each
EXAMPLES = {
    "codes.mp4": "What text stands at 4.9 seconds?",
    "slides.mp4": "What is the order code?",
}
# least, most, step, label
SLIDERS = {
    "tower_ratio": (0.05, 1.0, 0.05, "tower_ratio: share of the cells that the vision tower encodes"),
    "keep_ratio": (0.05, 1.0, 0.05, "keep_ratio: share of the tokens that the language model reads"),
    "fps": (0.5, 16.0, 0.5, "fps: frames per second"),
}
FONT, MONOSPACED = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
# uploads and pictures that are older are removed
KEPT_SECONDS = 3600
BEGIN = "Choose a video, write a question, and ask."
_STEPS = ("Answering behind the front end ...", "Drawing what was encoded ...", "Done.")


def require_gradio() -> Any:
    """Load gradio; ConfigError where it is not installed."""
    try:
        import gradio
    except ImportError as error:
        raise ConfigError(
            f'framegate demo needs gradio, which cannot be imported ({error}): pip install "framegate[demo]".'
        ) from error
    return gradio


def demo_page(
    asked: Asked, settings: Mapping[str, float], *, advise: Callable[[str], str | None] | None = None
) -> Any:
    """Make the page.

    Args:
        asked: model and preset.
        settings: where the sliders begin: tower_ratio, keep_ratio, and fps where the preset's sampler has a rate.
        advise: says of a question why the model will not answer it well, None where it will.

    Returns:
        gradio's Blocks.

    Raises:
        ConfigError: gradio is not installed.
    """
    gradio = require_gradio()
    clips = {name: str(resources.files("framegate") / "assets" / name) for name in EXAMPLES}
    with gradio.Blocks(
        title="framegate", analytics_enabled=False, delete_cache=(KEPT_SECONDS, KEPT_SECONDS)
    ) as page:
        gradio.Markdown(
            f"# framegate\nThe same question to `{asked.name}`, dense and behind preset `{Path(asked.preset).stem}`."
        )
        with gradio.Row():
            with gradio.Column():
                video = gradio.Video(
                    clips["codes.mp4"], label="Video", sources=["upload"], height=260, elem_classes="fg-video"
                )
                with gradio.Row():
                    shipped = {name: gradio.Button(name, size="sm", min_width=120) for name in clips}
                question = gradio.Textbox(EXAMPLES["codes.mp4"], label="Question", lines=1, max_lines=4)
                sliders = _sliders(gradio, settings)
                button = gradio.Button("Ask", variant="primary")
            with gradio.Column():
                told = gradio.HTML(told_html(BEGIN), elem_classes="fg-flat")
                answers = gradio.HTML(answers_html(None), elem_classes="fg-flat")
                with gradio.Column(visible=False) as encoded:
                    gradio.HTML("<h2>What was encoded</h2>", elem_classes="fg-flat")
                    overlay = gradio.Video(
                        label="What was encoded",
                        show_label=False,
                        interactive=False,
                        autoplay=True,
                        buttons=[],
                        height=260,
                    )
                    gradio.Markdown(LEGEND)
        account = gradio.HTML(elem_classes="fg-flat")
        whole = gradio.DownloadButton("Save the plan as a page", visible=False)
        for name, choose in shipped.items():
            choose.click(_chosen(name, clips[name]), outputs=[video, question], show_progress="hidden")
        given = [video, question, *sliders.values()]
        shown = [told, answers, encoded, overlay, account, whole]
        asking = _asking(gradio, asked, tuple(sliders), advise)
        gradio.on(
            [button.click, question.submit],
            asking,
            inputs=given,
            outputs=shown,
            show_progress="hidden",
            concurrency_limit=1,
            trigger_mode="once",
            api_name="ask",
        )
    return page


def launch(page: Any, *, host: str, port: int) -> str:
    """Serve the page from a thread of its own; `page.block_thread()` waits for Ctrl-C, `page.close()` ends it.

    Args:
        page: from `demo_page`.
        host: address to listen at.
        port: port to listen at.

    Returns:
        The page's address.

    Raises:
        ConfigError: the port is taken.
    """
    gradio = require_gradio()
    theme = gradio.themes.Default(primary_hue="orange", font=FONT, font_mono=MONOSPACED).set(
        # white on the theme's own orange is too faint
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
    )
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            theme=theme,
            css=CSS,
            share=False,
            ssr_mode=False,
            footer_links=[],
            max_file_size=CAPS["cap_bytes"],
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise ConfigError(
            f"The page cannot be served at {host}:{port} ({error}); choose another --port."
        ) from error
    return str(address)


def _sliders(gradio: Any, settings: Mapping[str, float]) -> dict[str, Any]:
    """A slider for each setting, by its name."""
    return {
        name: gradio.Slider(minimum=least, maximum=most, step=step, value=settings[name], label=label)
        for name, (least, most, step, label) in SLIDERS.items()
        if name in settings
    }


def _chosen(name: str, path: str) -> Callable[[], tuple[str, str]]:
    return lambda: (path, EXAMPLES[name])


def _asking(
    gradio: Any, asked: Asked, names: tuple[str, ...], advise: Callable[[str], str | None] | None
) -> Any:
    """The function behind the button: it fills the page as answers come."""

    def asking(video: str | None, question: str, *values: float) -> Iterator[tuple[Any, ...]]:
        nothing = _shown(gradio, None)
        if video is None or not question.strip():
            yield told_html("Choose a video and write a question.", is_error=True), *nothing
            return
        yield told_html("Answering dense ..."), *nothing
        hint = "" if advise is None else advise(question) or ""
        settings = dict(zip(names, values, strict=True))
        try:
            with tempfile.TemporaryDirectory() as folder:
                steps = compare(asked, video, question, settings=settings, folder=Path(folder))
                for told, known in zip(_STEPS, steps, strict=True):
                    yield told_html(f"{told} {hint}".strip()), *_shown(gradio, known)
        except FramegateError as error:
            yield told_html(str(error), is_error=True), *nothing

    return asking


def _shown(gradio: Any, known: Compared | None) -> tuple[Any, ...]:
    """What the parts of the page hold: answers, overlay (and whether it is seen), account, the page to save."""
    view = None if known is None else known.view
    return (
        answers_html(known),
        gradio.Column(visible=view is not None),
        None if view is None else str(view.overlay),
        "" if known is None else account_html(known),
        gradio.DownloadButton(value=None if view is None else str(view.page), visible=view is not None),
    )
