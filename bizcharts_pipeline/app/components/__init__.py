"""What several pages are made of: gauge, charts, lists, and the filters in the address."""
