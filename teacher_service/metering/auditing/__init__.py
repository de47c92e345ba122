"""Whether a ledger holds: every chain against what the store enforces, and the files it travels in."""
