"""scene_divergence: distributions over a language model's vocabulary, all pairs of scenes."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from framegate.kernels.scene_divergence import Kind, scene_divergence
from framegate.tools.bench.case import Case, Setting, Work
from framegate.tools.bench.providers import COMPILED

SCENES = {"cuda": (8, 32, 64), "cpu": (4, 16), "quick": (3,)}
REVERSED_SCENES = {"cuda": (32,), "cpu": (), "quick": ()}
MOST_UNROLLED_SCENES = 32
VOCABULARY = {"cuda": 151936, "cpu": 151936, "quick": 101}


def cases(setting: Setting) -> Iterator[Case]:
    """Make the cases of scene_divergence."""
    for scenes in setting.choose(SCENES):
        yield _case(setting, scenes, "jensen_shannon", "scenes")
    for scenes in setting.choose(REVERSED_SCENES):
        yield _case(setting, scenes, "reversed", "scenes_reversed")


def _case(setting: Setting, scenes: int, kind: Kind, x_name: str) -> Case:
    logits = torch.randn(scenes, VOCABULARY[setting.size], generator=setting.generator())
    unrolls = scenes > MOST_UNROLLED_SCENES
    p = (2 * logits).softmax(-1).to(setting.device)
    return Case(
        op="scene_divergence",
        x_name=x_name,
        x=scenes,
        shape={"p": list(p.shape), "kind": kind},
        dtype=p.dtype,
        run=lambda backend: scene_divergence(p, None, kind=kind, backend=backend),
        # its logarithms, one set for every pair and value, are not in the floor
        work={"forward": Work(num_bytes=(p.numel() + scenes * scenes) * p.element_size())},
        excused={COMPILED: "it unrolls the loop over scenes, and compiles for minutes"} if unrolls else {},
    )
