"""Quality against queries: what the bought descriptors were worth, and what more of them promise."""
