"""The arithmetic of qsweep: frame encoders, quantization, and the measurement of candidates.

Knows torch, and nothing of Ray or of the job that calls it.
"""

import os

# Before torch is imported. The plain arithmetic takes two threads wherever it runs, and threads that spin while
# they wait for each other, as they do by default, bring a machine with as many replicas as cores almost to a halt.
# (An environment that Ray sets costs a new worker half a second.)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Products of small matrices, and so the last digit of a sample, would differ between processors with AVX-512 and
# others: MKL adds up in another order there. With this order a plain measurement has the same bits on both, as the
# reference has them. (It costs fits nothing that could be measured. Where MKL does not know it, it ignores it.)
os.environ.setdefault("MKL_CBWR", "AVX2")
