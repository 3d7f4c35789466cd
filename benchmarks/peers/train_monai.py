"""Train MONAI's BasicUNet on FOLDER/images and FOLDER/masks, save it, and predict a mask: FOLDER FILM MASK EPOCHS."""

import sys
from pathlib import Path

import torch
from monai.data import CacheDataset, DataLoader, PILWriter
from monai.networks.nets import BasicUNet
from monai.transforms import AsDiscreted, Compose, LoadImaged, Resized, ScaleIntensityRanged

SIZE, KEYS = 256, ("image", "mask")
transform = Compose(
    [
        LoadImaged(
            KEYS, ensure_channel_first=True, converter=lambda picture: picture.convert("L"), allow_missing_keys=True
        ),
        Resized(KEYS, (SIZE, SIZE), allow_missing_keys=True),
        ScaleIntensityRanged(KEYS, 0, 255, 0, 1, allow_missing_keys=True),
        AsDiscreted("mask", threshold=0.5, allow_missing_keys=True),
    ]
)
folder, film, mask, epochs = sys.argv[1:]
files = sorted(Path(folder, "images").iterdir())
pairs = [{"image": file, "mask": Path(folder, "masks", file.name)} for file in files]
loader = DataLoader(CacheDataset(pairs, transform, progress=False), batch_size=8, shuffle=True)
model = BasicUNet(2, out_channels=1, features=(16, 32, 64, 128, 256, 16), act="relu", norm="batch")
optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.BCEWithLogitsLoss()
for _ in range(int(epochs)):
    for batch in loader:
        optimizer.zero_grad()
        loss(model(batch["image"]), batch["mask"]).backward()
        optimizer.step()
torch.save(model.state_dict(), "model.pt")
model.eval()
image = transform({"image": film})["image"]
with torch.inference_mode():
    predicted = model(image[None])[0].gt(0)
writer = PILWriter(torch.uint8)
writer.set_data_array(predicted.float())
writer.set_metadata({"spatial_shape": image.meta["spatial_shape"]}, mode="nearest")
writer.write(mask)
