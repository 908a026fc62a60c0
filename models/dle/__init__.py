"""DLE: telling replayed and printed faces from real ones, by recurrent networks over frames' features."""

from framegate.models.dle.ensemble import SpoofEnsemble
from framegate.models.dle.folders import SpoofVideo, read_spoof_folder
from framegate.models.dle.protocol import eer_threshold, half_total_error, leave_one_source_out

__all__ = [
    "SpoofEnsemble",
    "SpoofVideo",
    "eer_threshold",
    "half_total_error",
    "leave_one_source_out",
    "read_spoof_folder",
]
