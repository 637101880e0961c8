"""Compiled kernels: how they are built, found and loaded. Their C sources are in the packages that call them."""
