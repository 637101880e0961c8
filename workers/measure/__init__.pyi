from .engine import Measurer
from .error_bound import ErrorBound
from .options import EngineOptions

__all__ = ["EngineOptions", "ErrorBound", "Measurer"]
