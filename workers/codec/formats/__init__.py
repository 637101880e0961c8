"""Checkpoints of other programs: the files of Cool-Chic's own encoder, read without executing anything in them."""
