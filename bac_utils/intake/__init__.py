"""Reading mammograms: a DICOM, PNG or TIFF file becomes a `Mammogram` or is skipped for a stated reason."""
