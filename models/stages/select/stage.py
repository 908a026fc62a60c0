"""TokenSelect: brings the filled grid down to the prompt's budget by a rule that chooses tokens, none changed."""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor, nn

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageCall
from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import Rank, VideoToChoose, best_of_tubes
from framegate.models.video_tokens import VideoTokens


class TokenSelect(nn.Module):
    """Keeps as many tokens of each video as its budget says, chosen by a rule.

    Args:
        settings: rule and clocks.
        width: unused: no rule has weights.
    """

    def __init__(self, settings: SelectConfig | None = None, width: int = 0) -> None:
        super().__init__()
        self.settings = settings or SelectConfig()
        self.rank: Rank = import_module(
            f"framegate.models.stages.select.rules.{self.settings.select_rule}"
        ).rank

    def extra_repr(self) -> str:
        """Name the rule in `print(model)`."""
        return self.settings.select_rule

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Choose.

        Args:
            tokens: of all videos of a call.
            call: targets, and what rules may ask for.

        Returns:
            Exactly as many tokens of each video as its target says, unchanged and in order; all where there are fewer.

        Raises:
            ConfigError: `use_query` where the call brings no question, or `show_again_seconds` where it says no times.
        """
        call = call or StageCall()
        if call.targets is None:
            return tokens
        keep, start, late = torch.zeros(tokens.num_tokens, dtype=torch.bool), 0, 0
        for number, (present, target) in enumerate(zip(tokens.counts, call.targets, strict=True)):
            mine = slice(start, start + present)
            start += present
            if present <= target:
                keep[mine] = True
                continue
            keep[mine], missed = self._kept(tokens, call, number, mine, target)
            late += missed
        call.report.stage("select").note = self.settings.select_rule
        if late:
            call.note(
                f"show_again_seconds {self.settings.show_again_seconds:g}: {late:,} times a cell that was due found no "
                "room in its tube; the least recently shown went first"
            )
        return tokens.kept(keep)

    @torch.no_grad()
    def _kept(
        self, tokens: VideoTokens, call: StageCall, number: int, mine: slice, wanted: int
    ) -> tuple[Tensor, int]:
        """Which tokens of a video stay, bool [n], and how often a cell that was due found no room."""
        place, settings = tokens.tyx[mine], self.settings
        tubes, tube, sizes = torch.unique(place[:, 0], return_inverse=True, return_counts=True)
        video = VideoToChoose(
            features=tokens.features[mine].detach(),
            tube=tube,
            sizes=sizes,
            age=tokens.age[mine],
            change=None if call.change is None else call.change[tokens.cell[mine]].float().cpu(),
            query=self._query(call, number),
        )
        scores, counts = self.rank(video, wanted, settings)
        assert int(counts.sum()) == wanted, (
            f"{settings.select_rule} shares out {counts.sum()} of {wanted} tokens"
        )
        if settings.min_tokens_per_tube and wanted >= len(counts):
            counts = _at_least_one(counts)
        scores = scores.float().cpu()
        if settings.show_again_seconds is None:
            return best_of_tubes(scores, tube, counts), 0
        if call.times_seconds is None:
            raise ConfigError(
                f"select.show_again_seconds is {settings.show_again_seconds}, and the call does not say when its tubes "
                "are: make the inputs with the attached processor, or set it to None."
            )
        cell = place[:, 1] * tokens.shapes[number][2] + place[:, 2]
        now, seconds = call.times_seconds[number][tubes], settings.show_again_seconds
        return shown_again(scores, tube, counts, cell=cell, now=now, seconds=seconds)

    def _query(self, call: StageCall, number: int) -> Tensor | None:
        if not self.settings.use_query:
            return None
        if call.query is None:
            raise ConfigError("select.use_query is set, and this call has no text to read a question from.")
        return call.query()[number].detach()


def shown_again(
    scores: Tensor, tube: Tensor, counts: Tensor, *, cell: Tensor, now: Tensor, seconds: float
) -> tuple[Tensor, int]:
    """Keep the best of every tube, after the cells that were not shown for so long: the longest waiting first.

    Scores float [n], tube int64 [n] rising from 0 without gaps, tokens that each tube keeps [T], place of each token in
    its tube [n], and the time of each tube [T] -> bool [n], and how often a due cell found no room.
    """
    keep, late = torch.zeros(len(tube), dtype=torch.bool), 0
    # a cell begins to wait when something shows it
    shown = torch.full((int(cell.max()) + 1,), torch.inf, dtype=now.dtype)
    shown = shown.scatter_reduce(0, cell, now[tube], "amin")
    for number, (members, count) in enumerate(
        zip(torch.arange(len(tube)).split(tube.bincount().tolist()), counts.tolist(), strict=True)
    ):
        waited = now[number] - shown[cell[members]]
        due = torch.where(waited >= seconds, waited, -1)
        order = scores[members].argsort(descending=True, stable=True)
        order = order[due[order].argsort(descending=True, stable=True)]
        chosen = members[order[:count]]
        keep[chosen] = True
        shown[cell[chosen]] = now[number]
        late += int((due[order[count:]] >= 0).sum())
    return keep, late


def _at_least_one(counts: Tensor) -> Tensor:
    """Give empty tubes a token, taken from those that have the most, the earlier one first; int64 [T]."""
    counts = counts.clone()
    for empty in (counts == 0).nonzero()[:, 0].tolist():
        counts[int(counts.argmax())] -= 1
        counts[empty] = 1
    return counts
