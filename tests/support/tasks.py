"""The names of the tasks of the tests, for modules that only insert jobs."""

TASK = "tests.misbehave"
PROVIDER_TASK = "tests.call_provider"
HELD_TASK = "tests.hold"
