"""What disagrees is not timed: every provider is compared with the reference on the inputs of the case."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.errors import DisagreementError
from framegate.tools.bench.case import Case, Mode
from framegate.tools.bench.providers import REFERENCE, Ready

# of the largest value of the reference; the tests are stricter, this finds what is wrong altogether
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}


def require_agreement(case: Case, mode: Mode, found: Ready) -> None:
    """Compare what every provider gave with what the reference gave.

    Args:
        case: the case.
        mode: what was computed.
        found: the providers' outputs.

    Raises:
        DisagreementError: shapes or dtypes differ, whole numbers differ at all, or others by more than the tolerance
            of their dtype.

    Source: ours.
    """
    reference = found.outputs[REFERENCE]
    for name, outputs in found.outputs.items():
        complaint = _complaint(outputs, reference)
        if complaint:
            raise DisagreementError(
                f"{case.op} by {name!r} is not what the reference gives ({mode}, {case.x_name} {case.x:g}): "
                f"{complaint}. Nothing of {case.op} was timed or written."
            )


def _complaint(outputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> str | None:
    if len(outputs) != len(reference):
        return f"{len(outputs)} outputs for {len(reference)}"
    for number, (tensor, wanted) in enumerate(zip(outputs, reference, strict=True)):
        complaint = _apart(tensor, wanted)
        if complaint:
            return f"output {number}: {complaint}"
    return None


def _apart(tensor: Tensor, wanted: Tensor) -> str | None:
    if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
        return f"{tensor.dtype} {tuple(tensor.shape)} for {wanted.dtype} {tuple(wanted.shape)}"
    if torch.equal(tensor, wanted):
        return None
    if not wanted.is_floating_point():
        wrong = int((tensor != wanted).sum())
        worst = int((tensor.long() - wanted.long()).abs().max())
        return f"{wrong} of {wanted.numel()} values differ, by {worst} at worst; they must be equal"
    finite = torch.isfinite(wanted)
    if not torch.equal(torch.where(finite, 0, wanted), torch.where(torch.isfinite(tensor), 0, tensor)):
        return "values that are not finite stand elsewhere"
    error = float((tensor.double() - wanted.double())[finite].abs().max())
    allowed = TOLERANCE[wanted.dtype] * float(wanted[finite].double().abs().max())
    if error > allowed:
        return f"the worst error is {error:.3g}, {allowed:.3g} is allowed"
    return None
