"""What the Snakefile calls. No torch: Snakemake reads it before each run."""
