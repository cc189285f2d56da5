"""The training set's features on disk: computed once, resumed at any moment, asked in seconds."""
