"""A call that brings tokens which a live session holds, in place of a video: nothing is read, gated or encoded."""

from __future__ import annotations

from typing import Any

from framegate.errors import AttachmentError
from framegate.models.attachment.gating import check_placeholders
from framegate.models.attachment.keywords import holds_video, plain_mask
from framegate.models.attachment.video_call import VideoCall
from framegate.models.cell_plan import whole_plan
from framegate.models.live.stored import STORED_KEY, StoredVideo
from framegate.models.mechanism import Encoded


def holds_stored(named: dict[str, Any]) -> bool:
    """True when a call brings tokens of a session."""
    return named.get(STORED_KEY) is not None


class StoredCall(VideoCall):
    """A call of one conversation whose video is a session's, in `STORED_KEY`."""

    def _short(self) -> dict[str, Any]:
        if holds_video(self.given) or self.given.get("input_ids") is None:
            raise AttachmentError(
                f"{STORED_KEY} stands for the one video of a call: give it with input_ids, and without "
                "pixel_values_videos. session.inputs(question) makes both."
            )
        plain_mask(self.given)
        stored: StoredVideo = self.given[STORED_KEY]
        tokens, mechanism, report = stored.tokens, self.attached.mechanism, self.report
        cells = whole_plan(tokens.shapes)
        placeholders = mechanism.placeholders(self.given)
        self._check_new(placeholders, cells)
        check_placeholders(placeholders, cells, mechanism.family.extra)
        _, rows, columns = tokens.shapes[0]
        report.num_videos, report.video_seconds = 1, stored.video_seconds
        report.dense_tokens = stored.seen_tubes * rows * columns
        report.encoded_cells = stored.encoded_cells
        stage = report.stage("memory")
        stage.tokens_in, stage.tokens_out = report.dense_tokens, tokens.num_tokens
        stage.note = f"{tokens.shapes[0][0]:,} of {stored.seen_tubes:,} tubes are held"
        return self._spelled(tokens, placeholders, Encoded([], None))
