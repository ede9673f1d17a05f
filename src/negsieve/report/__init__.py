"""Pages with pictures, made from run directories alone."""

from negsieve.report.run import run_page
from negsieve.report.study import study_page

__all__ = ["run_page", "study_page"]
