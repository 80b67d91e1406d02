"""Software-defined assets, one file for each stage: fetch, compute, write, report."""
