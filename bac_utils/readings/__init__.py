"""Readings of a reader study: one row per reader and view, what a reader entered and when, and the readers' consensus.

A study is a folder with one CSV file per reader (`table`). `reader_file` writes it, `order` shuffles the women, `lines`
turns the lines of the ruler into mm, and `consensus` joins the readers.
"""
