from __future__ import annotations


class RouterError(RuntimeError):
    """Raised if a development router cannot be found, built, configured or started.

    The text is for the user at the terminal, and says what to do.
    """
