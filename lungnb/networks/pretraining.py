"""Train an encoder on synthetic CT slices, for `weights="phantom"`. No patient's data is used."""

import shutil

from lungnb.artefacts import MODEL
from lungnb.datasets.fetch import download
from lungnb.datasets.prepare import prepare_dataset
from lungnb.files import written
from lungnb.networks.encoders import phantom_file
from lungnb.networks.training import train
from lungnb.settings import Settings

EPOCHS = 12


def fetch_weights(settings: Settings, progress: bool = True) -> None:
    """Train the encoder on phantoms if the settings need it as initial weights, unless it exists already.

    A U-Net learns to segment synthetic CT slices of the settings' image size and window. This takes a few minutes.
    Other weights need no preparation: they are in a file, or Keras downloads those of ImageNet.
    """
    if not settings.encoder or settings.weights != "phantom":
        return
    file = phantom_file(settings.encoder, settings.depth, settings.image_size, settings.window)
    if file.exists():
        return
    # Only what the file's name says comes from the settings, because the next run with that name uses the file too.
    phantoms = Settings(
        dataset="phantom-ct", profile=settings.profile, encoder=settings.encoder, depth=settings.depth,
        image_size=settings.image_size, window=settings.window, epochs=EPOCHS, stop_patience=EPOCHS,
    )  # fmt: skip
    download(phantoms.dataset, progress)
    prepare_dataset(phantoms, progress)
    train(phantoms, "unet", progress)
    with written(file) as temporary:
        shutil.copy2(phantoms.results / "unet" / MODEL, temporary)
