"""Import of past days of the board from the Warosu archive."""
