"""Repeatable benchmarks, each with a baseline or lower bound measured in the same run."""
