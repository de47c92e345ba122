"""What a student learned from, and what the student learned from that it started from."""
