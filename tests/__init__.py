"""Tests of qsweep."""

import workers  # noqa: F401  # before torch is: it sets how torch computes
