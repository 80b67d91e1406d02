"""The only place of the app that reads; typed rows come out, cached for as long as the database is unchanged."""
