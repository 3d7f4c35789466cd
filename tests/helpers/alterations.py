"""Ways in which copies of images are altered in the wild, each a function from a uint8 image to another one."""

import io

import numpy as np
from PIL import Image


def cropped(image, share):
    """Cut a share of the height and the width off each side."""
    height, width = image.shape
    top, left = int(height * share), int(width * share)
    return image[top : height - top, left : width - left]


def padded(image, share, grey=0):
    height, width = image.shape
    return np.pad(image, ((int(height * share),) * 2, (int(width * share),) * 2), constant_values=grey)


def turned(image, degrees):
    return np.array(Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR))


def with_gamma(image, gamma):
    return np.rint(255 * (image / 255) ** gamma).astype(np.uint8)


def with_even_contrast(image):
    """Equalise the contrast locally (CLAHE)."""
    from skimage.exposure import equalize_adapthist

    return (255 * equalize_adapthist(image)).astype(np.uint8)


def marked(image):
    """Put a white marker of 10 by 20 % into a corner."""
    marked, (height, width) = image.copy(), image.shape
    marked[height // 50 : height * 6 // 50, width // 50 : width * 11 // 50] = 255
    return marked


def as_jpeg(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(image, width, height):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def noisy(image):
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


ALTERATIONS = {
    "the same": lambda image: image,
    "inverted": lambda image: 255 - image,
    "mirrored": np.fliplr,
    "cropped by 2 % a side": lambda image: cropped(image, 0.02),
    "cropped by 5 % a side": lambda image: cropped(image, 0.05),
    "5 % cut off the top": lambda image: image[len(image) // 20 :],
    "padded by 5 % a side, black": lambda image: padded(image, 0.05),
    "padded by 5 % a side, white": lambda image: padded(image, 0.05, 255),
    "turned by 1 degree": lambda image: turned(image, 1),
    "turned by 2 degrees": lambda image: turned(image, 2),
    "gamma 0.5": lambda image: with_gamma(image, 0.5),
    "gamma 2": lambda image: with_gamma(image, 2),
    "CLAHE": with_even_contrast,
    "marker in a corner": marked,
    "JPEG, quality 30": lambda image: as_jpeg(image, 30),
    "97x97 px": lambda image: resized(image, 97, 97),
    "1000x800 px": lambda image: resized(image, 1000, 800),
    "noise": noisy,
}
HARDER = {
    "JPEG, quality 10": lambda image: as_jpeg(image, 10),
    "5 % cut off the top and the right": lambda image: image[len(image) // 20 :, : -(image.shape[1] // 20)],
    "mirrored and cropped by 5 %": lambda image: cropped(np.fliplr(image), 0.05),
    "mirrored, turned by 2 degrees, gamma 2": lambda image: with_gamma(turned(np.fliplr(image), 2), 2),
    "cropped by 5 %, marker, CLAHE": lambda image: with_even_contrast(marked(cropped(image, 0.05))),
}
