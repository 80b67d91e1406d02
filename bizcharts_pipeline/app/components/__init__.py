"""Parts of several pages: gauge, charts, lists, and the filters in the address."""
