"""The whole line on rendered landmarks or on photographs of one's own."""
