"""From a message to a function of the app and back: decorators, hooks, contexts, validation, results."""
