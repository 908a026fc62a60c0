"""Encode the tubes of a call that no earlier call encoded, and take the features of the others from a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from framegate.models.cell_plan import CellPlan
from framegate.models.feature_store import FeatureStore
from framegate.models.mechanism import Encoded, Mechanism
from framegate.models.transformers_private import attention_of

# values of each weight that its fingerprint reads: what trains, merges or is loaded changes them all
_SAMPLED = 64
# whole numbers as wide as pixels, by their bytes
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Remembered(NamedTuple):
    """What a tower made of kept cells, some of them in earlier calls.

    Args:
        encoded: features of all kept cells; `output` is None where no cell was encoded in this call.
        reused_cells: cells whose features an earlier call, or an equal tube of this one, gave.
        reused_tubes: tubes of theirs.
        share_read: share of the call's rows that the tower read.
        notes: what was forgotten.
    """

    encoded: Encoded
    reused_cells: int
    reused_tubes: int
    share_read: float
    notes: tuple[str, ...]


def why_not_remembered(mechanism: Mechanism, rows: Tensor, *, anchored: bool) -> str | None:
    """Say why the features of a call can neither be reused nor remembered; None where they can.

    Args:
        mechanism: the model's tower.
        rows: what the tower reads.
        anchored: kept cells see cells of other tubes.

    Returns:
        The reason.
    """
    weights = (weight for module in _modules_of(mechanism) for weight in module.parameters())
    if torch.is_grad_enabled() and (rows.requires_grad or any(weight.requires_grad for weight in weights)):
        return "gradients are asked for; call the model under torch.no_grad(), as generate does"
    if mechanism.tower.training:
        return "the tower is in training mode; call model.eval()"
    if anchored:
        return "context 'anchored' lets cells see other tubes"
    if not mechanism.encodes_tubes_apart:
        return f"{mechanism.family.model_class} hands over more of a tube than the features of its cells"
    return None


def encode_remembered(
    store: FeatureStore,
    mechanism: Mechanism,
    rows: Tensor,
    call: dict[str, Any],
    cells: CellPlan,
    encode: Callable[[Tensor, CellPlan], Encoded],
) -> Remembered:
    """Encode what the store does not hold.

    A tube is known by all that its features come from: the rows of its kept cells, which cells they are, its grid, its
    number of frames and the call's settings. So the same frames in another pairing, at another size or under another
    plan are other tubes.

    Args:
        store: what earlier calls encoded.
        mechanism: the model's tower.
        rows: of the kept cells, as `encode` takes them.
        call: keyword arguments.
        cells: the flat plan of all videos.
        encode: runs the tower on the rows of a plan's kept cells.

    Returns:
        Features of all kept cells, in token order.
    """
    made_by = _fingerprint(mechanism)
    forgotten = store.follow(made_by)
    tubes, keeps, counts = mechanism.tube_rows(rows, cells), _keeps_of_tubes(cells), cells.kept_per_tube
    told = [tuple(rows.shape[1:]), str(rows.dtype), _settings(call, mechanism)]
    parts_told = zip(_digests(tubes), keeps, mechanism.tube_lengths(call) or [0] * len(tubes), strict=True)
    keys = [_key(digest, keep, [*told, length]) for digest, keep, length in parts_told]
    found = {key: layers for key in keys if (layers := store.take(key, made_by=made_by)) is not None}
    # of equal tubes the first, and none without a kept cell
    first = {key: n for n, key in reversed([*enumerate(keys)])}
    new = [n for n, key in enumerate(keys) if counts[n] and key not in found and first[key] == n]
    encoded_now = set(new)
    encoded, lost, too_large = Encoded([], None), 0, 0
    if new:
        encoded = encode(torch.cat([tubes[n] for n in new]), _only(cells, keeps, encoded_now))
        parts = zip(*(layer.split([counts[n] for n in new]) for layer in encoded.layers), strict=True)
        found |= {keys[n]: layers for n, layers in zip(new, parts, strict=True)}
        lost = sum(store.put(keys[n], found[keys[n]], made_by=made_by) for n in new)
        too_large = sum(not store.fits(found[keys[n]]) for n in new)
    shown = [found[key] for key, count in zip(keys, counts, strict=True) if count]
    old = [count for n, count in enumerate(counts) if count and n not in encoded_now]
    return Remembered(
        encoded=encoded._replace(layers=[torch.cat(parts) for parts in zip(*shown, strict=True)]),
        reused_cells=sum(old),
        reused_tubes=len(old),
        share_read=sum(tubes[n].nelement() for n in new) / sum(tube.nelement() for tube in tubes),
        notes=_notes(store, forgotten, lost, too_large),
    )


def _notes(store: FeatureStore, forgotten: int, lost: int, too_large: int) -> tuple[str, ...]:
    notes = []
    if forgotten:
        notes.append(
            f"the tower is another, or has changed: {forgotten} remembered tubes of before were forgotten"
        )
    if lost:
        notes.append(
            f"the store of features is full ({store.max_bytes:,} bytes): {lost} tubes that were not used for longest "
            "went"
        )
    if too_large:
        notes.append(
            f"{too_large} tubes are larger than the whole store of features ({store.max_bytes:,} bytes): not remembered"
        )
    return tuple(notes)


def _keeps_of_tubes(cells: CellPlan) -> list[Tensor]:
    """Which cells of each tube are kept, bool [H, W]."""
    videos = zip(cells.keep.split(cells.cells_per_video), cells.shapes, strict=True)
    return [tube for keep, shape in videos for tube in keep.view(shape)]


def _only(cells: CellPlan, keeps: list[Tensor], tubes: set[int]) -> CellPlan:
    """A plan that keeps the cells of some tubes alone; what the others show is not asked of the tower."""
    keep = torch.cat([(tube & (number in tubes)).flatten() for number, tube in enumerate(keeps)])
    own = torch.where(keep, torch.arange(len(keep)), -1)
    return replace(cells, keep=keep, anchor=own, shift_patches=None)


def _key(rows: bytes, keep: Tensor, told: list[Any]) -> bytes:
    """Digest of all that the features of a tube come from, beside the tower."""
    digest = hashlib.blake2b(repr((tuple(keep.shape), told)).encode(), digest_size=16)
    digest.update(keep.numpy().tobytes())
    digest.update(rows)
    return digest.digest()


def _settings(call: dict[str, Any], mechanism: Mechanism) -> list[tuple[str, Any]]:
    """Which layers are read, and the like; tensors and times are of videos, and what is left out says nothing."""
    asked = ((name, call.get(name)) for name in mechanism.consumed)
    return [(name, value) for name, value in asked if _is_setting(value)]


def _is_setting(value: Any) -> bool:
    several = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(one, int | str) for one in several)


def _digests(tubes: list[Tensor]) -> list[bytes]:
    """Two numbers of 64 bits for each line of what the tower reads of each tube, worked out where it is.

    Sums of its words by fixed random factors: pixels may be on a device, and only the sums leave it.
    """
    width, at = tubes[0].shape[-1], tubes[0].device
    drawn = torch.Generator().manual_seed(0)
    factors = (torch.randint(-(2**62), 2**62, (2, width), generator=drawn) * 2 + 1).to(at)
    sums = []
    for tube in tubes:
        words = tube.detach().flatten(0, -2).view(_WORDS[tube.element_size()]).long()  # [lines, width]
        sums.append(torch.stack([(words * factor).sum(1) for factor in factors], 1))
    lines = torch.cat(sums).cpu().split([len(of_tube) for of_tube in sums])
    return [_bytes_of(of_tube) for of_tube in lines]


def _bytes_of(values: Tensor) -> bytes:
    on_host = values.detach().cpu().contiguous()
    return on_host.view(torch.uint8).numpy().tobytes()


def _fingerprint(mechanism: Mechanism) -> bytes:
    """Digest of what the features of any tube come from: weights, adapters, precision, attention."""
    told: list[Any] = [attention_of(mechanism.tower.config), *_precision()]
    sampled: dict[torch.device, list[Tensor]] = {}
    for module in _modules_of(mechanism):
        for name, part in module.named_modules():
            adapters = getattr(part, "active_adapters", None)
            if adapters is not None:
                told.append((name, str(adapters), str(getattr(part, "disable_adapters", None))))
        for name, weight in _weights_of(module):
            version = 0 if weight.is_inference() else weight._version
            told.append(
                (name, id(weight), version, tuple(weight.shape), str(weight.dtype), str(weight.device))
            )
            # of quantised weights the version has to tell
            if not weight.is_meta and type(weight) in (Tensor, torch.nn.Parameter):
                some = weight.detach().flatten()[:: max(1, weight.nelement() // _SAMPLED)][:_SAMPLED]
                sampled.setdefault(weight.device, []).append(some.contiguous().view(torch.uint8))
    digest = hashlib.blake2b(repr(told).encode(), digest_size=16)
    for parts in sampled.values():
        digest.update(_bytes_of(torch.cat(parts)))
    return digest.digest()


def _precision() -> list[str]:
    """What autocast makes of each kind of device."""
    kinds = ("cpu", "cuda")
    return [str(torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)) for kind in kinds]


def _weights_of(module: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _modules_of(mechanism: Mechanism) -> list[torch.nn.Module]:
    """The tower, and what stands between it and the language model."""
    family, inner = mechanism.family, mechanism.inner
    names = (*family.tower_modules, *family.merger_modules)
    found = [getattr(inner, name, None) for name in names]
    return [
        mechanism.tower,
        *(part for part in found if isinstance(part, torch.nn.Module) and part is not mechanism.tower),
    ]
