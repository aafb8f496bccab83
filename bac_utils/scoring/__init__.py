"""Scoring archives with a trained detector: tables, summaries and DICOM results."""
