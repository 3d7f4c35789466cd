"""Train lungnb's U-Net on FOLDER/images and FOLDER/masks, save it, and predict a mask: FOLDER FILM MASK EPOCHS."""

import sys

import lungnb

folder, film, mask, epochs = sys.argv[1:]
settings = lungnb.make_settings(folder, "full", loss="bce", epochs=int(epochs))
lungnb.prepare_dataset(settings)
lungnb.train(settings, "unet")
lungnb.write_png(mask, lungnb.segment(film, settings.results / "unet").mask)
