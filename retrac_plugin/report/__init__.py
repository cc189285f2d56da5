"""Pictures of scores: figures (``figures``) and pages (self-contained HTML)."""

from retrac_plugin.report.contents import Method, MetricRow, NormRecord, Report
from retrac_plugin.report.measuring import measured
from retrac_plugin.report.page import write_page

__all__ = [
    "Method",
    "MetricRow",
    "NormRecord",
    "Report",
    "measured",
    "write_page",
]
