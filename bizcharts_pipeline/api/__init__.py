"""The API over HTTP: the published numbers for programs, as they were knowable at a moment."""
