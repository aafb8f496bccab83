"""Running the notebooks without a browser, in order, into one folder."""
