from .figure_file import FIGURES, FORMATS, plot
from .page import REPORT_FILE, write_report

__all__ = ["FIGURES", "FORMATS", "REPORT_FILE", "plot", "write_report"]
