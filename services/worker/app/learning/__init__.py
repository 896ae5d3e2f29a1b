"""Trains models of a project's tagging on tags that people confirmed, never on the models' own suggestions."""
