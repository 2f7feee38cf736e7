"""The base of errors that are told to people in their own words."""


class ExplainedError(Exception):
    """Something foreseen has gone wrong; the text names the fault and says what to do."""
