"""What the teacher service and the student trainer must agree on; imports neither of them."""
