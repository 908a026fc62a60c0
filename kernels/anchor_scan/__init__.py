"""anchor_scan: the causal gate, cell by cell, against the content that was last encoded."""

from framegate.kernels.anchor_scan.reference import anchor_scan

__all__ = ["anchor_scan"]
