"""The paired benchmark: this product, what most people write, and their peers, on the same work in one run."""
