from .figure_file import plot
from .figures import FIGURES, FORMATS
from .page import REPORT_FILE, write_report

__all__ = ["FIGURES", "FORMATS", "REPORT_FILE", "plot", "write_report"]
