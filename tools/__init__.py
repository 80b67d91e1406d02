"""Programs for those who maintain the project; nothing of an installation needs them."""
