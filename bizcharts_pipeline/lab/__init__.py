"""The lab: whether the board's mood says anything about the next days' prices. docs/lab.md explains every part."""
