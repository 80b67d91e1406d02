"""Local web server of the labelling page."""
