"""Pictures of a gate plan: overlay video, contact sheet, timeline and one HTML page that holds them all."""

from framegate.tools.view.figures import PlanFigures, plan_figures
from framegate.tools.view.write import ViewFiles, write_view

__all__ = ["PlanFigures", "ViewFiles", "plan_figures", "write_view"]
