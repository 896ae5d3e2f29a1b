"""What people make of the machine's suggestions: accepted or rejected, and kept as feedback."""
