"""Train MONAI's BasicUNet on FOLDER/images and FOLDER/masks, save it, and predict a mask: FOLDER FILM MASK EPOCHS."""

import sys
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import BasicUNet
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

SIZE = 256


def read(path: Path) -> torch.Tensor:
    """Return an image from 0 to 1, (1, SIZE, SIZE)."""
    grey = Image.open(path).convert("L").resize((SIZE, SIZE))
    return torch.from_numpy(np.asarray(grey, np.float32) / 255)[None]


folder, film, mask, epochs = sys.argv[1:]
files = sorted(Path(folder, "images").iterdir())
images = torch.stack([read(file) for file in files])
masks = torch.stack([read(Path(folder, "masks", file.name)) for file in files]).gt(0.5).float()
model = BasicUNet(2, out_channels=1, features=(16, 32, 64, 128, 256, 16), act="relu", norm="batch")
optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), torch.nn.BCEWithLogitsLoss()
for _ in range(int(epochs)):
    for x, y in DataLoader(TensorDataset(images, masks), batch_size=8, shuffle=True):
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
torch.save(model.state_dict(), "model.pt")
model.eval()
with torch.inference_mode():
    predicted = model(read(Path(film))[None])[0, 0].gt(0).numpy()
Image.fromarray(predicted).resize(Image.open(film).size).convert("L").save(mask)
