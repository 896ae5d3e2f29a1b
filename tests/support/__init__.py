"""What the tests stand on: real servers, a real API process, real workers."""
