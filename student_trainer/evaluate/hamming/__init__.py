"""Binary codes: packed in bits, compared by the bits in which they differ, scored fairly where they tie."""
