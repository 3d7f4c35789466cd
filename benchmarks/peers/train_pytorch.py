"""Train a U-Net in plain PyTorch on FOLDER/images and FOLDER/masks, save, predict a mask: FOLDER FILM MASK EPOCHS."""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZE, FILTERS, DEPTH = 256, 16, 4


def read(path: Path) -> torch.Tensor:
    """Return an image from 0 to 1, (1, SIZE, SIZE)."""
    grey = Image.open(path).convert("L").resize((SIZE, SIZE))
    return torch.from_numpy(np.asarray(grey, np.float32) / 255)[None]


def block(before: int, channels: int) -> nn.Sequential:
    """Return convolution, normalisation and ReLU, twice."""
    return nn.Sequential(
        nn.Conv2d(before, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """The network, because PyTorch offers no U-Net."""

    def __init__(self) -> None:
        super().__init__()
        c = [1, *(FILTERS * 2**level for level in range(DEPTH + 1))]
        self.down = nn.ModuleList(block(c[level], c[level + 1]) for level in range(DEPTH + 1))
        self.up = nn.ModuleList(nn.ConvTranspose2d(c[level + 1], c[level], 2, 2) for level in range(DEPTH, 0, -1))
        self.decode = nn.ModuleList(block(2 * c[level], c[level]) for level in range(DEPTH, 0, -1))
        self.head = nn.Conv2d(FILTERS, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of the images' shape."""
        skips = []
        for down in self.down[:-1]:
            skips.append(down(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        x = self.down[-1](x)
        for up, decode in zip(self.up, self.decode, strict=True):
            x = decode(torch.cat([up(x), skips.pop()], 1))
        return self.head(x)


folder, film, mask, epochs = sys.argv[1:]
files = sorted(Path(folder, "images").iterdir())
images = torch.stack([read(file) for file in files])
masks = torch.stack([read(Path(folder, "masks", file.name)) for file in files]).gt(0.5).float()
model = UNet()
optimizer, loss = torch.optim.Adam(model.parameters(), 1e-3), nn.BCEWithLogitsLoss()
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
