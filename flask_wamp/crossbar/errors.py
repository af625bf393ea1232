from __future__ import annotations


class RouterError(RuntimeError):
    """A development router cannot be found, built, configured or started.

    Its text is a sentence for the person at the terminal: it says what to do.
    """
