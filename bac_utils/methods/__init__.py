"""The other methods, side by side: what each published method for BAC gives on one and the same cohort."""
