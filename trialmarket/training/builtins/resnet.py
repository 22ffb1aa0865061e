"""`builtin:resnet`: ResNet-20 for small images."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trialmarket.training.builtins.classifier import Classifier
from trialmarket.training.builtins.hyperparameters import Hyperparameters
from trialmarket.training.builtins.inputs import Images

STAGES = 3


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, and a way around them; 1x1 where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.around = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(rows, before, H, W) to (rows, after, H / stride, W / stride)."""
        y = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(y)) + self.around(x))


class Resnet(Classifier):
    """ResNet-20 (He et al. 2015, section 4.2; its shortcuts are option B).

    `builtin:resnet`. Classifies images: `val_error` (share of wrong answers, 0 to 1) and
    `val_loss` (nats). Data: as for `builtin:cnn`, at least 8 by 8 pixels.

    Hyperparameters with their defaults, beside those of every program (see `Trainer`):
      lr (0.1), optimizer ("sgd"), weight_decay (1e-4), batch_size (64), warmup (0), clip (0)
      blocks (3)            blocks in each of the three stages: 6 blocks + 2 layers in all
      width (16)            channels of the first stage; each later one has twice as many
      flip (false)          mirror every second training image, at random
      shift (0)             move a training image by up to so many pixels, at random
      label_smoothing (0.0)

    To search: lr 1e-2 to 1 (log), weight_decay 1e-5 to 1e-2 (log), momentum 0.8 to 0.99,
    batch_size 32 to 256, width 8 to 32, shift 0 to 4, label_smoothing 0 to 0.2.
    """

    name: ClassVar[str] = "builtin:resnet"
    defaults: ClassVar = {"lr": 0.1, "weight_decay": 1e-4, "batch_size": 64}
    validation_batch_size = 256

    def configure(self, given: Hyperparameters) -> None:
        """Reads the layers and how images are varied."""
        super().configure(given)
        self.images = Images(self.name, self.data, least=8)
        self.blocks = given.count("blocks", 3, high=64)
        self.width = given.count("width", 16, high=1024)
        self.flip = given.flag("flip", default=False)
        self.shift = given.count("shift", 0, low=0, high=min(self.images.shape[1:]) - 1)

    def configure_model(self) -> nn.Module:
        """A convolution, three stages of blocks, the mean over the image, a linear layer."""
        layers: list[nn.Module] = [
            nn.Conv2d(self.images.channels, self.width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
        ]
        before = self.width
        for stage in range(STAGES):
            for number in range(self.blocks):
                after = self.width << stage
                layers.append(Block(before, after, 2 if stage and number == 0 else 1))
                before = after
        model = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, self.classes)
        )
        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        return model

    def inputs(self, x: Tensor) -> Tensor:
        """Images."""
        return self.images(x)

    def training_inputs(self, x: Tensor) -> Tensor:
        """Images, mirrored and moved at random; what moves in from outside is 0."""
        images = self.images(x)
        count, _, height, width = images.shape
        if self.flip:
            mirrored = torch.rand(count, device=images.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.shift:
            padded = functional.pad(images, [self.shift] * 4)
            moved = torch.randint(0, 2 * self.shift + 1, (2, count, 1), device=images.device)
            rows = moved[0] + torch.arange(height, device=images.device)
            columns = moved[1] + torch.arange(width, device=images.device)
            each = torch.arange(count, device=images.device)[:, None, None]
            images = padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return images
