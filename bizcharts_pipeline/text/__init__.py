"""From a post to what it says: HTML to text, coin mentions, generals, spam."""
