"""The machine that a process runs on: hardware, locks, GPUs, ranks, torch's settings."""
