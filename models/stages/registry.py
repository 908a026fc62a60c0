"""The stages between tower and language model: found by their files, one shape, run in order, each accounted for.

A stage is a file or a folder here with a `STAGE`: adding one touches nothing else. Its settings are a section of the
configuration under its own name, and its module is an `nn.Module` called as `stage(tokens, call) -> tokens`.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.report import Report

if TYPE_CHECKING:
    from torch import Tensor

    from framegate.models.video_tokens import VideoTokens


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """What the configuration knows of a stage; importing it loads no torch where the module stands in another file.

    Args:
        config: class of its settings, a frozen dataclass; None for a stage that no section switches on.
        module: "module.path:Class" of its `nn.Module`, made as Class(settings, width).
        order: stages run by rising order.
        reduces: it may make fewer tokens, so it stands aside where nothing is to be reduced.
        learns: "module.path:function" that reads its learned weights, called as f(path, width, settings); None for a
            stage without any. Its module has a `width` and the settings as `config`.
    """

    config: type[Any] | None
    module: str
    order: int
    reduces: bool = True
    learns: str | None = None

    def build(self, settings: Any, width: int) -> Any:
        """Make the stage's `nn.Module` for a model whose tokens have `width` features."""
        return _found(self.module)(settings, width)

    def load(self, path: Path, settings: Any, width: int) -> Any:
        """Make it with weights that were learned; ConfigError where they do not fit."""
        assert self.learns is not None, "the stage learns nothing"
        return _found(self.learns)(path, width, settings)


def _found(place: str) -> Any:
    """What stands at "module.path:name"."""
    path, name = place.split(":")
    return getattr(import_module(path), name)


@dataclass(kw_only=True)
class StageCall:
    """What a stage may ask of the call that it serves, besides its tokens.

    Args:
        targets: tokens that each video may have in the end; None without a budget.
        exact: targets are to be met exactly, not only not exceeded.
        head: the language-model head, features [., D] to logits; None when the model has none.
        change: how much each dense cell had changed when the gate decided on it, float [C]; None when nothing says.
        relevance: of each tube of all videos, float [tubes]; None where the caller gave none.
        query: gives the embeddings [Q, D] of the text that asks about each video; None where there is no text to read.
        times_seconds: of each tube per video, None when unknown.
        report: notes go there.
    """

    targets: list[int] | None = None
    exact: bool = False
    head: Callable[[Tensor], Tensor] | None = None
    change: Tensor | None = None
    relevance: Tensor | None = None
    query: Callable[[], list[Tensor]] | None = None
    times_seconds: list[Tensor] | None = None
    report: Report = field(default_factory=lambda: Report(preset="custom"))

    @property
    def floor(self) -> list[int] | None:
        """Fewest tokens that a stage may leave in each video; None where it may leave as few as it likes."""
        return self.targets if self.exact else None

    def note(self, text: str) -> None:
        """Tell the report why something stood aside."""
        self.report.note(text)


# stages that no section switches on: `gate.refill` does, and a budget that nothing else meets
_BY_RULE = {
    "refill": StageSpec(config=None, module="framegate.models.stages.refill:Refill", order=0),
    "reduction": StageSpec(config=None, module="framegate.models.stages.reduction:Reduction", order=40),
}


@cache
def stages() -> dict[str, StageSpec]:
    """Find all stages.

    Returns:
        Name, which is that of its file and of its section in the configuration, to what is known of it; in the order in
        which they run.
    """
    found = dict(_BY_RULE)
    for entry in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if entry.name not in found and entry.name != "registry":
            found[entry.name] = import_module(f"framegate.models.stages.{entry.name}").STAGE
    return dict(sorted(found.items(), key=lambda item: item[1].order))


def sections(*, reducing: bool = False) -> dict[str, type[Any]]:
    """Name and settings of every stage that a configuration can switch on, in order; or of those that reduce alone."""
    return {
        name: spec.config
        for name, spec in stages().items()
        if spec.config is not None and (spec.reduces or not reducing)
    }


def learning() -> tuple[str, ...]:
    """Names of the stages that learn, in order."""
    return tuple(name for name, spec in stages().items() if spec.learns is not None)


def run_stages(tokens: VideoTokens, modules: Mapping[str, Any], call: StageCall) -> VideoTokens:
    """Run stages one after the other, in order, each timed and counted in the report.

    Raises:
        ConfigError: a stage needs what the call does not bring (a query, a head).
    """
    for name, module in modules.items():
        started, before = time.perf_counter(), tokens.num_tokens
        tokens = module(tokens, call)
        row = call.report.stage(name)
        row.tokens_in, row.tokens_out = before, tokens.num_tokens
        row.milliseconds = (time.perf_counter() - started) * 1000
    return tokens
