"""Train keras-unet-collection's U-Net on FOLDER/images and FOLDER/masks, save, predict: FOLDER FILM MASK EPOCHS."""

import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # it was written for Keras 2

import numpy as np
import tf_keras
from keras_unet_collection import models
from PIL import Image

SIZE = 256


def read(path: Path) -> np.ndarray:
    """Return an image from 0 to 1, (SIZE, SIZE, 1)."""
    return np.asarray(Image.open(path).convert("L").resize((SIZE, SIZE)), np.float32)[..., None] / 255


folder, film, mask, epochs = sys.argv[1:]
files = sorted(Path(folder, "images").iterdir())
images = np.stack([read(file) for file in files])
masks = np.stack([read(Path(folder, "masks", file.name)) > 0.5 for file in files]).astype(np.float32)
channels, options = [16, 32, 64, 128, 256], {"batch_norm": True, "unpool": False}
model = models.unet_2d((SIZE, SIZE, 1), channels, 1, output_activation="Sigmoid", **options)
model.compile(tf_keras.optimizers.Adam(1e-3), "binary_crossentropy")
model.fit(images, masks, batch_size=8, epochs=int(epochs))
model.save("model.keras")
predicted = model.predict(read(Path(film))[None])[0, ..., 0] > 0.5
Image.fromarray(predicted).resize(Image.open(film).size).convert("L").save(mask)
