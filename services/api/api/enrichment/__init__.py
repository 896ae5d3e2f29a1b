"""What the machine suggests for an issue, and what people make of it."""
