"""Which candidate to measure next, and which one wins. Pure."""
