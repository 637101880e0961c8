"""The job: plans, hands out, gathers, chooses, writes and shows."""
