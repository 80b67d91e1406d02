"""The past of the board, day by day, from the Warosu archive."""
