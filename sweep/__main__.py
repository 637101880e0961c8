"""``python -m sweep``: the command line, where the code is there but not installed."""

from sweep.launch import main

main()
