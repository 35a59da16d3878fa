"""Data sets: official downloads with checksums, or files under the folder that RESCORE_DATA names."""
