"""Everything that reads or writes numbers: measured records, published numbers, verdicts, claims, the gate, tables."""
