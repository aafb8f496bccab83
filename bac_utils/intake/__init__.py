"""Reading mammograms: DICOM, PNG and TIFF files to a `Mammogram`, or a stated reason why not."""
