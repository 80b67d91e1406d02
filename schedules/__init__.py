"""When the jobs run."""
