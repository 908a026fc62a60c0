"""What the page says, as HTML: answers side by side, and the account of both calls; all text escaped."""

from __future__ import annotations

import base64
from html import escape

from framegate.tools.demo.compare import Compared
from framegate.tools.evaluation.ask import Answer

# trimming a video would load an encoder from elsewhere; gradio writes some words too faint
CSS = """
.fg-answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(200px, 100%), 1fr)); gap: 12px }
.fg-card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 12px 16px }
.fg-card p, .fg-told { margin: 0; overflow-wrap: anywhere }
.fg-card .fg-answer { font-size: 24px; min-height: 36px; white-space: pre-wrap }
.fg-card dl { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 8px 0 0 }
.fg-card dt { font-size: 13px }
.fg-card dd { margin: 0; font-variant-numeric: tabular-nums }
.fg-told { min-height: 24px }
.fg-flat h2 { margin: 0 0 6px; font-size: 16px }
.fg-wide { overflow-x: auto; margin: 0 0 20px }
.fg-wide img { min-width: 640px; width: 100%; border-radius: 6px }
.fg-wide table { width: max-content; min-width: 560px; font-size: 14px; border: 0; border-collapse: collapse }
.fg-wide table :is(td, th) { padding: 3px 16px 3px 0; border: 0 }
.fg-wide table tr { border: 0; border-bottom: 1px solid var(--border-color-primary) }
.fg-flat .html-container { padding: 0 !important }
.fg-video [aria-label="Trim video to selection"] { display: none }
.fg-video .or, [data-testid="min-value"], [data-testid="max-value"] { color: var(--body-text-color) !important }
"""
LEGEND = (
    "Clear and outlined: encoded by the vision tower. Blue: skipped, shown again by what was encoded before. Dark: "
    "left out. Which of these tokens the language model reads is chosen behind the tower; the report counts them."
)


def answers_html(known: Compared | None) -> str:
    """Two cards, with dashes where nothing is known."""
    cards = (
        ("Dense", None if known is None else known.dense),
        ("Compressed", None if known is None else known.compressed),
    )
    return f"<div class='fg-answers'>{''.join(_card(*card) for card in cards)}</div>"


def told_html(text: str, *, is_error: bool = False) -> str:
    """A line that screen readers speak when it changes: an error at once, else when they are silent."""
    role = "alert" if is_error else "status"
    return f"<p class='fg-told' role='{role}'>{'<b>Error.</b> ' if is_error else ''}{escape(text)}</p>"


def account_html(known: Compared) -> str:
    """The timeline of the plan, and both reports."""
    parts = []
    if known.view is not None:
        source = base64.b64encode(known.view.timeline.read_bytes()).decode()
        picture = (
            f"<img src='data:image/png;base64,{source}' alt='Tokens per tube over time, keyframes marked'>"
        )
        parts.append(_wide("Tokens over time", picture))
    for name, answer in (("Compressed", known.compressed), ("Dense", known.dense)):
        if answer is not None:
            parts.append(_wide(f"Report: {name.lower()}", answer.report._repr_html_()))
    return "".join(parts)


def _card(name: str, answer: Answer | None) -> str:
    text = "\N{EN DASH}" if answer is None else escape(answer.text) or "(nothing)"
    rows = () if answer is None else _figures(answer)
    figures = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in rows)
    listed = f"<dl>{figures}</dl>" if figures else ""
    return f"<section class='fg-card'><h2>{name}</h2><p class='fg-answer'>{text}</p>{listed}</section>"


def _figures(answer: Answer) -> tuple[tuple[str, str], ...]:
    report = answer.report
    return (
        (
            "tower: cells encoded",
            f"{report.encoded_cells:,} of {report.dense_tokens:,} ({report.tower_ratio:.1%})",
        ),
        (
            "prompt: tokens read",
            f"{report.kept_tokens:,} of {report.dense_tokens:,} ({report.keep_ratio:.1%})",
        ),
        ("from file to inputs", f"{1000 * answer.input_seconds:,.0f} ms"),
        ("then to first token", f"{1000 * answer.first_token_seconds:,.0f} ms"),
    )


def _wide(title: str, body: str) -> str:
    """A part that scrolls sideways where the page is narrow, by keys as well."""
    head = f"<div class='fg-wide' role='region' aria-label='{escape(title)}' tabindex='0'>"
    return f"{head}<h2>{escape(title)}</h2>{body}</div>"
