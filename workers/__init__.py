"""The arithmetic of qsweep: frame encoders, quantization, and the measurement of candidates.

Knows torch, and nothing of Ray or of the job that calls it.
"""

import os

# Before torch is imported. The plain arithmetic takes two threads wherever it runs, and threads that spin while
# they wait for each other, as they do by default, bring a machine with as many replicas as cores almost to a halt.
# (An environment that Ray sets costs a new worker half a second.)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
