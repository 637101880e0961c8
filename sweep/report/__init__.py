"""What a job found, to look at: a page, and figures as files."""

from sweep.report.page import REPORT_FILE, write_report
from sweep.report.plot import FIGURES, FORMATS, plot

__all__ = ["FIGURES", "FORMATS", "REPORT_FILE", "plot", "write_report"]
