"""Software-defined assets, one file a stage: fetch, compute, write, report."""
