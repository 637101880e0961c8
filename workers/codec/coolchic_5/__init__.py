"""The family ``coolchic-5``: encoders of Cool-Chic 5."""
