"""Text analysis of posts: HTML to text, coin mentions, generals, spam."""
