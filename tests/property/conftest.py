"""Hypothesis without its deadline of 200 ms an example: on a busy machine a pause would fail a test."""

from hypothesis import settings

settings.register_profile("botkeep", deadline=None)
settings.load_profile("botkeep")
