"""The image browser in tests."""

import lungnb


def in_file_order(*arguments, **options):
    """Open the browser with the images in the order of their files."""
    return lungnb.browse(*arguments, **{"order": "all images"} | options)
