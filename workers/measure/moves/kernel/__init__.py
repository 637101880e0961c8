"""The compiled kernel of moves: exact sums, from what was kept of the integers before a move."""
