"""From scored posts to the Fear/Greed index and coin sentiment, with intervals."""
