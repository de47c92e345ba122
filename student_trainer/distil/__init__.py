"""Training the student offline on what was bought."""
