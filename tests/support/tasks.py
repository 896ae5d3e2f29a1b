"""The names of the tests' own tasks, for those who only insert jobs of them."""

TASK = "tests.misbehave"
PROVIDER_TASK = "tests.ask_provider"
