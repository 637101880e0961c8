"""The compiled kernel of moves: the costs of torch's exact sums, from what was kept of the integers before a move."""
