"""The pages, a function each; a file reads as its page does, from top to bottom."""
