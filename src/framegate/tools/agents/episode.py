"""What an agent did with a video: turn by turn, what it wrote, what it was shown for that, and what it cost."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from framegate.tools.agents.grammar import Action
from framegate.types import FramePlan, VideoInfo


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """One turn of the agent.

    Args:
        text: what it wrote; "" where a scorer looked in its place.
        action: what that asks for; Invalid with the reason where nothing was done.
        looked_at: frames that were shown for this turn and not in the turns before; None where there was none.
        told: what the environment said for this turn beside frames.
        attempt: which attempt at the question, from 0.
        is_forced: the answer was asked for, whatever else the agent would have done.
        is_cut: the text ended by the limit of new tokens.
        video_tokens: of the prompt, that the language model read for this turn; None where no model counts.
        prompt_tokens: all that it read for this turn; those that stood in its cache are not read again.
        new_tokens: of the text.
        encoded_cells: that the vision tower encoded for this turn.
        reused_cells: whose features an earlier turn had encoded.
        seconds: from the prompt to the text.
        notes: of the speaker and of the front end's report.
    """

    text: str
    action: Action
    looked_at: FramePlan | None = None
    told: str = ""
    attempt: int = 0
    is_forced: bool = False
    is_cut: bool = False
    video_tokens: int | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    encoded_cells: int | None = None
    reused_cells: int | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Spell the turn as plain values."""
        names = ("text", "told", "attempt", "is_forced", "is_cut", *COUNTS, "seconds")
        values = {name: getattr(self, name) for name in names}
        return values | {
            "action": {"kind": kind_of(self.action), **asdict(self.action)},
            "looked_at": None if self.looked_at is None else spelled(self.looked_at),
            "notes": list(self.notes),
        }


COUNTS = ("video_tokens", "prompt_tokens", "new_tokens", "encoded_cells", "reused_cells")


@dataclass(frozen=True, kw_only=True, eq=False)
class Episode:
    """An agent's whole way to an answer; shown with thumbnails in a notebook.

    Args:
        video: what is known of the video.
        question: as it was asked.
        policy: its name.
        settings: of the policy.
        turns: in order, those of attempts that failed as well.
        answer: None where none was got.
        stopped: why there was no further turn: "answered" by itself, or why the answer was forced ("turn_limit",
            "token_budget", "attempts", and words of the policies: "seen_before", "too_short", ...), or "invalid" where
            the last turn gave no answer.
        source: the video as it was given, for thumbnails.
    """

    video: VideoInfo
    question: str
    policy: str
    settings: dict[str, Any]
    turns: tuple[Turn, ...]
    answer: str | None
    stopped: str
    source: Any = field(default=None, repr=False)

    def total(self, count: str) -> int | None:
        """Sum one of COUNTS over the turns; None where no model counted."""
        counted = [getattr(turn, count) for turn in self.turns if getattr(turn, count) is not None]
        return sum(counted) if counted else None

    def to_dict(self) -> dict[str, Any]:
        """Spell the episode as plain values."""
        return {
            "video": None if self.video.source is None else str(self.video.source),
            "question": self.question,
            "policy": self.policy,
            "settings": self.settings,
            "turns": [turn.to_dict() for turn in self.turns],
            "answer": self.answer,
            "stopped": self.stopped,
            "totals": {count: self.total(count) for count in COUNTS},
        }

    def to_json(self) -> str:
        """Spell the episode as JSON."""
        return json.dumps(self.to_dict(), indent=2)

    def to_html(self) -> str:
        """Draw the episode as one HTML page that opens from a file: turns, and thumbnails of what was looked at."""
        from framegate.tools.agents.page import page

        return page(self)

    def _repr_html_(self) -> str:
        from framegate.tools.agents.page import fragment

        return fragment(self)


def kind_of(action: Action) -> str:
    """Name an action's kind as one word: "choose", "frame_at", "zoom", "select", "answer" or "invalid"."""
    name = type(action).__name__
    return "".join(
        "_" * (at > 0) + letter.lower() if letter.isupper() else letter for at, letter in enumerate(name)
    )


def spelled(plan: FramePlan) -> dict[str, Any]:
    """Spell a plan of frames as lists."""
    return {
        "indices": plan.indices.tolist(),
        "timestamps_seconds": plan.timestamps_seconds.round(4).tolist(),
        "scale": plan.scale.round(4).tolist(),
        "group": plan.group.tolist(),
        "notes": list(plan.notes),
    }
