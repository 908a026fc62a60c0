"""Where a row was measured."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from importlib import metadata

import torch

from framegate.provenance import commit


@dataclass(frozen=True, kw_only=True)
class Place:
    """The device and the code that ran on it.

    Args:
        device: name of the device.
        torch: version.
        triton: version, "" where there is none.
        commit: of this package; "unknown" outside a checkout.
    """

    device: str
    torch: str
    triton: str
    commit: str

    @property
    def folder(self) -> str:
        """Name of the device's folder: cpu_x86_64, nvidia_h100_80gb_hbm3."""
        return re.sub(r"[^a-z0-9]+", "_", self.device.lower()).strip("_")


def place_of(device: torch.device) -> Place:
    """Look where a device is.

    Args:
        device: the CPU or a GPU.

    Returns:
        Its name, and the versions of what runs on it.

    Source: ours.
    """
    on_gpu = device.type == "cuda"
    return Place(
        device=torch.cuda.get_device_name(device) if on_gpu else f"cpu {platform.machine()}",
        torch=torch.__version__,
        triton=_version("triton"),
        commit=commit() or "unknown",
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
