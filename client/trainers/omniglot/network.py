"""The ConvNet of Kaiser et al. (ICLR 2017, section 4.1): a drawing becomes the memory's query."""

import torch
from torch import nn


class ConvNet(nn.Module):
    """[rows, 28, 28] in 0 .. 1 -> [rows, key_dim].

    Two blocks of two 3x3 convolutions with ReLU and a 2x2 pool, two fully connected layers with dropout between, then the
    trainable projection before the memory. No ReLU after the last layer (every similarity would be >= 0) and no batch
    normalisation. width 1 is the paper's 64 and 128 channels.
    """

    def __init__(self, key_dim: int = 128, width: float = 1.0, dropout: float = 0.3):
        super().__init__()
        first, second = max(4, int(64 * width)), max(8, int(128 * width))
        self.features = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.Conv2d(first, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.Conv2d(second, second, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(second * 49, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, key_dim))
        self.projection = nn.Linear(key_dim, key_dim, bias=False)
        self.apply(_initialise)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.projection(self.head(self.features(images.unsqueeze(1))))


def _initialise(module: nn.Module) -> None:
    """He's normal weights, no biases. PyTorch's default biases make all queries alike (cosine 0.99 at the start), where
    the memory loss has next to no gradient and training stands still for hundreds of iterations."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
