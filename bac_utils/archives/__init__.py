"""Views tables from public datasets and from folders of DICOM files."""
