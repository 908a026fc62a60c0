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
        settings: rule and floor.
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
            ConfigError: `use_query` where the call brings no question.
        """
        call = call or StageCall()
        if call.targets is None:
            return tokens
        keep, start = torch.zeros(tokens.num_tokens, dtype=torch.bool), 0
        for number, (present, target) in enumerate(zip(tokens.counts, call.targets, strict=True)):
            mine = slice(start, start + present)
            start += present
            if present <= target:
                keep[mine] = True
                continue
            keep[mine] = self._kept(tokens, call, number, mine, target)
        call.report.stage("select").note = self.settings.select_rule
        return tokens.kept(keep)

    @torch.no_grad()
    def _kept(self, tokens: VideoTokens, call: StageCall, number: int, mine: slice, wanted: int) -> Tensor:
        """Which tokens of a video stay, bool [n]."""
        settings = self.settings
        _, tube, sizes = torch.unique(tokens.tyx[mine][:, 0], return_inverse=True, return_counts=True)
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
            counts = at_least_one(counts)
        return best_of_tubes(scores.float().cpu(), tube, counts)

    def _query(self, call: StageCall, number: int) -> Tensor | None:
        if not self.settings.use_query:
            return None
        if call.query is None:
            raise ConfigError("select.use_query is set, and this call has no text to read a question from.")
        return call.query()[number].detach()


def at_least_one(counts: Tensor) -> Tensor:
    """Give empty tubes a token, taken from those that have the most, the earlier one first; int64 [T]."""
    counts = counts.clone()
    for empty in (counts == 0).nonzero()[:, 0].tolist():
        counts[int(counts.argmax())] -= 1
        counts[empty] = 1
    return counts
