"""Read image files, volumes and DICOM as arrays, and write arrays back. One function opens every file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "opening": ["Refused", "memory_limit", "open_file"],
        "images": ["Picture", "peculiarity", "read_image", "read_mask", "read_picture", "write_png"],
        "pixels": ["LUNG_WINDOW", "hounsfield_to_grey", "to_grey"],
        "resizing": ["fit_square", "resample_mm", "shrink", "unfit_square"],
        "axial": ["Volume"],
        "nifti": ["read_nifti", "write_nifti_mask"],
        "dicom_series": ["read_dicom_series"],
        "volumes": ["read_volume"],
        "dicom_seg": ["write_dicom_seg"],
        "folders": ["image_files"],
    },
)
