"""Running all notebooks in order, without a browser, into one folder."""
