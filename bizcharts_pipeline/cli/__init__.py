"""The command `bizcharts`, one module for each group of commands."""
