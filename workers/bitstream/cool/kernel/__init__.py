"""The compiled kernel of ``.cool`` files, where it was built."""
