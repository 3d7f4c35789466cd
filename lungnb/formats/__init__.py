"""Read image files, volumes and DICOM as arrays, and write arrays back. One function opens every file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "tables": ["read_table"],
        "opening": ["Refused", "memory_limit", "open_file"],
        "images": ["Picture", "peculiarity", "read_image", "read_mask", "read_picture", "read_volume", "write_png"],
        "ranges": ["LUNG_WINDOW"],
        "pixels": ["fit_square", "resample_mm", "shrink", "to_grey", "unfit_square"],
        "volumes": ["Volume"],
        "nifti": ["read_nifti", "write_nifti_mask"],
        "dicom_series": ["read_dicom_series"],
        "dicom_seg": ["write_dicom_seg"],
        "folders": ["image_files"],
    },
)
