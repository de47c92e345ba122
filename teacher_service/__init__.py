"""A rate-limited, metered embedding API around one teacher network."""
