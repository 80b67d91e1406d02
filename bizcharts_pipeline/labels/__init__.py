"""What people and paid APIs said of posts, in ledgers that lose nothing."""
