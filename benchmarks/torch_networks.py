"""The three networks in plain PyTorch, with the same layers as in `lungnb.networks.models`."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn


def convolution(before: int, channels: int, stride: int = 1, bias: bool = False) -> nn.Module:
    """A 3x3 convolution that keeps the size, or halves it."""
    return nn.Conv2d(before, channels, 3, stride, 1, bias=bias)


class DoubleConvolution(nn.Sequential):
    """Convolution, normalisation, ReLU; twice."""

    def __init__(self, before: int, channels: int) -> None:
        once = [convolution(before, channels), nn.BatchNorm2d(channels), nn.ReLU()]
        super().__init__(*once, convolution(channels, channels), nn.BatchNorm2d(channels), nn.ReLU())


class Recurrent(nn.Module):
    """A convolution applied to its input, then twice to the sum of its input and its last output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution, self.norm = convolution(channels, channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Three uses of one kernel."""
        state = torch.relu(self.convolution(x))
        for _ in range(2):
            state = torch.relu(self.convolution(x + state))
        return self.norm(state)


class RecurrentUnit(nn.Module):
    """Two recurrent layers beside a shortcut."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(before, channels, 1)
        self.layers = nn.Sequential(Recurrent(channels), Recurrent(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both."""
        shortcut = self.shortcut(x)
        return shortcut + self.layers(shortcut)


class UShape(nn.Module):
    """A U-Net of `unit(before, channels)`: a U-Net proper, or an R2U-Net."""

    def __init__(self, unit: type[nn.Module], filters: int = 16, depth: int = 4) -> None:
        super().__init__()
        c = [1, *(filters * 2**level for level in range(depth + 1))]
        self.down = nn.ModuleList(unit(c[level], c[level + 1]) for level in range(depth + 1))
        self.up = nn.ModuleList(nn.ConvTranspose2d(c[level + 1], c[level], 2, 2) for level in range(depth, 0, -1))
        self.decode = nn.ModuleList(unit(2 * c[level], c[level]) for level in range(depth, 0, -1))
        self.head = nn.Conv2d(filters, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Down, across, up."""
        skips = []
        for unit in self.down[:-1]:
            skips.append(unit(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        x = self.down[-1](x)
        for up, decode in zip(self.up, self.decode, strict=True):
            x = decode(torch.cat([up(x), skips.pop()], 1))
        return torch.sigmoid(self.head(x))


class ResidualUnit(nn.Module):
    """Normalisation, ReLU, convolution; twice; plus a projected shortcut."""

    def __init__(self, before: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        first = [nn.BatchNorm2d(before), nn.ReLU()] if before > 1 else []
        self.layers = nn.Sequential(
            *first, convolution(before, channels, stride), nn.BatchNorm2d(channels), nn.ReLU(),
            convolution(channels, channels, bias=True),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both."""
        return self.shortcut(x) + self.layers(x)


class ResUNet(nn.Module):
    """Residual units, halved by strides and doubled by plain upsampling."""

    def __init__(self, filters: int = 16, depth: int = 4) -> None:
        super().__init__()
        c = [1, *(filters * 2**level for level in range(depth + 1))]
        self.down = nn.ModuleList(ResidualUnit(c[level], c[level + 1], 2 if level else 1) for level in range(depth + 1))
        self.decode = nn.ModuleList(ResidualUnit(c[level + 1] + c[level], c[level]) for level in range(depth, 0, -1))
        self.head = nn.Conv2d(filters, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Down, across, up."""
        skips = []
        for unit in self.down:
            x = unit(x)
            skips.append(x)
        skips.pop()
        for decode in self.decode:
            x = decode(torch.cat([nn.functional.interpolate(x, scale_factor=2), skips.pop()], 1))
        return torch.sigmoid(self.head(x))


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "unet": partial(UShape, DoubleConvolution),
    "resunet": ResUNet,
    "r2unet": partial(UShape, RecurrentUnit),
}
