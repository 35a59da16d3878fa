"""What each command of `rescore` does; `rescore.cli` reads their options. Heavy imports are in the functions."""
