"""The command ``qsweep`` with a small refinement in place of its own, whose state is kept after every move.

``python -m tests.sweep.toy_refinement_driver run JOB.yaml``
"""

import sweep.job
import sweep.search.refine.factory
from sweep import cli
from sweep.driver import driver
from sweep.results import refining
from tests.sweep.search import toy_refinement

if __name__ == "__main__":
    sweep.search.refine.factory.refinement = toy_refinement.toy_refinement  # type: ignore[assignment]
    sweep.job.SEARCH_SECONDS = driver.SEARCH_SECONDS = 0.01  # type: ignore[attr-defined]
    refining._OWN = (*refining._OWN, toy_refinement.__name__)  # type: ignore[assignment]
    cli.main()
