"""Schedules, which create jobs periodically."""
