"""The arithmetic of qsweep: frame encoders, quantization, and the measurement of candidates.

Knows torch, and nothing of Ray or of the job that calls it.
"""
