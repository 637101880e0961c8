"""Bitstreams of Cool-Chic 5 (``.cool``): read and written as Cool-Chic 5.0.1 does, byte for byte."""
