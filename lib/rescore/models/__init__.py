"""Trained models: one node of the DAG each, shared by every paper that names the same spec."""
