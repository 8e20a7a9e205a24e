"""The detector: the YOLOv5 architecture family, narrow, with pruning masks and fake quantisation built in.

Backbone of strided 3x3 convolutions and C3 blocks after a 6x6/2 stem, SPPF, a PAN neck with two nearest
upsamples, three detect heads of three anchors each at strides 8, 16 and 32, SiLU throughout.
"""
import torch
import torch.nn.functional as F
from torch import nn

SIZE = 320
STRIDES = (8, 16, 32)
ANCHORS = (((18, 20), (32, 20), (24, 38)), ((42, 42), (66, 46), (46, 68)), ((84, 86), (130, 96), (110, 140)))  # pixels
WIDTHS = (8, 16, 32, 64, 96)  # channels at strides 2, 4, 8, 16, 32


class Conv(nn.Module):
    """Convolution, batch norm, optionally SiLU - with a pruning mask, and a quantised mode.

    fold() moves the batch norm into weight and bias. After it, `quantised` makes the forward pass round
    input (u8, one scale and zero point, `input_range`) and weight (s8, one scale) as an int8 runtime does.
    """

    def __init__(self, inputs, outputs, kernel=1, stride=1, act=True, norm=True):
        super().__init__()
        padding = (kernel - 1) // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03) if norm else None
        self.act = act
        self.quantised = self.observing = False
        self.register_buffer("mask", torch.ones_like(self.conv.weight))
        self.register_buffer("input_range", torch.zeros(2))

    def forward(self, x):
        if self.observing:
            self.observe(x)
        weight = self.conv.weight * self.mask
        if self.quantised:
            x = torch.fake_quantize_per_tensor_affine(x, *self.input_scale(), 0, 255)
            weight = torch.fake_quantize_per_tensor_affine(weight, self.weight_scale(), 0, -127, 127)
        y = F.conv2d(x, weight, self.conv.bias, self.conv.stride, self.conv.padding)
        if self.norm is not None:
            y = self.norm(y)
        return F.silu(y) if self.act else y

    @torch.no_grad()
    def observe(self, x):
        """Moves `input_range` towards the range of this batch, outliers (1 in 10,000) cut off at the top."""
        top = x.flatten().kthvalue(max(1, int(x.numel() * 0.9999))).values
        seen = torch.stack([x.min().clamp(max=0), top.clamp(min=0)])
        self.input_range.copy_(seen if not self.input_range.any() else self.input_range.lerp(seen, 0.05))

    def input_scale(self):
        """(scale, zero point) of the input; zero is exactly representable."""
        low, high = self.input_range.tolist()
        scale = max(high - low, 1e-6) / 255
        return scale, min(255, max(0, round(-low / scale)))

    def weight_scale(self):
        return max(float((self.conv.weight * self.mask).detach().abs().max()), 1e-6) / 127

    @torch.no_grad()
    def fold(self):
        """Replaces batch norm by an equal weight and bias; zeros of the weight stay zeros."""
        if self.norm is not None:
            factor = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
            self.conv.weight.mul_(self.mask).mul_(factor[:, None, None, None])
            self.conv.bias = nn.Parameter(self.norm.bias - self.norm.running_mean * factor)
            self.norm = None


class Bottleneck(nn.Module):
    def __init__(self, channels, shortcut):
        super().__init__()
        self.cv1, self.cv2, self.shortcut = Conv(channels, channels, 1), Conv(channels, channels, 3), shortcut

    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Two 1x1 branches, one of them through a bottleneck, joined and mixed."""

    def __init__(self, inputs, outputs, shortcut=True):
        super().__init__()
        half = outputs // 2
        self.cv1, self.cv2, self.cv3 = Conv(inputs, half), Conv(inputs, half), Conv(2 * half, outputs)
        self.m = Bottleneck(half, shortcut)

    def forward(self, x):
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))


class SPPF(nn.Module):
    """Three chained 5x5 max pools, concatenated with their input."""

    def __init__(self, channels):
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels // 2), Conv(channels * 2, channels)

    def forward(self, x):
        pooled = [self.cv1(x)]
        for _ in range(3):
            pooled.append(F.max_pool2d(pooled[-1], 5, 1, 2))
        return self.cv2(torch.cat(pooled, 1))


class Detector(nn.Module):
    """images [B, 3, S, S] in 0..1 -> three raw heads [B, 3 * (5 + classes), S / stride, S / stride]."""

    def __init__(self, classes, widths=WIDTHS):
        super().__init__()
        c2, c4, c8, c16, c32 = widths
        self.classes = classes
        self.stem = Conv(3, c2, 6, 2)
        self.down4, self.stage4 = Conv(c2, c4, 3, 2), C3(c4, c4)
        self.down8, self.stage8 = Conv(c4, c8, 3, 2), C3(c8, c8)
        self.down16, self.stage16 = Conv(c8, c16, 3, 2), C3(c16, c16)
        self.down32, self.stage32 = Conv(c16, c32, 3, 2), C3(c32, c32)
        self.sppf = SPPF(c32)
        self.lateral32, self.up16 = Conv(c32, c16), C3(2 * c16, c16, False)
        self.lateral16, self.up8 = Conv(c16, c8), C3(2 * c8, c8, False)
        self.pan16, self.out16 = Conv(c8, c8, 3, 2), C3(2 * c8, c16, False)
        self.pan32, self.out32 = Conv(c16, c16, 3, 2), C3(2 * c16, c32, False)
        self.heads = nn.ModuleList(Conv(c, 3 * (5 + classes), act=False, norm=False) for c in (c8, c16, c32))
        for head, stride in zip(self.heads, STRIDES):
            bias = head.conv.bias.data.view(3, -1)
            bias[:, 4], bias[:, 5:] = -6.0, -1.5  # objects are rare; so is each class

    def forward(self, x):
        p8 = self.stage8(self.down8(self.stage4(self.down4(self.stem(x)))))
        p16 = self.stage16(self.down16(p8))
        p32 = self.sppf(self.stage32(self.down32(p16)))
        l32 = self.lateral32(p32)
        l16 = self.lateral16(self.up16(torch.cat([upsample(l32), p16], 1)))
        n8 = self.up8(torch.cat([upsample(l16), p8], 1))
        n16 = self.out16(torch.cat([self.pan16(n8), l16], 1))
        n32 = self.out32(torch.cat([self.pan32(n16), l32], 1))
        return [head(n) for head, n in zip(self.heads, (n8, n16, n32))]

    def fold_all(self):
        """Folds every batch norm and switches to quantised arithmetic."""
        for _, module in self.convs():
            module.fold()
            module.quantised = True

    def convs(self):
        """(name, Conv) of every convolution, in order."""
        return [(name, module) for name, module in self.named_modules() if isinstance(module, Conv)]


def upsample(x):
    return F.interpolate(x, scale_factor=2, mode="nearest")


def grid_offsets(cells):
    """[cells, cells, 2] of (column, row) as floats."""
    rows, columns = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
    return torch.stack([columns, rows], -1).float()


def split_head(raw, classes):
    """[B, 3 * (5 + classes), H, W] -> [B, 3, H, W, 5 + classes]."""
    b, _, h, w = raw.shape
    return raw.view(b, 3, 5 + classes, h, w).permute(0, 1, 3, 4, 2)


def decode(heads, classes):
    """Raw heads -> [B, N, 5 + classes]: centre x, y, width, height in pixels, objectness, class scores."""
    rows = []
    for raw, stride, anchors in zip(heads, STRIDES, ANCHORS):
        y = split_head(raw, classes).sigmoid()
        xy = (y[..., :2] * 2 - 0.5 + grid_offsets(raw.shape[2])) * stride
        wh = (y[..., 2:4] * 2) ** 2 * torch.tensor(anchors).float().view(1, 3, 1, 1, 2)
        rows.append(torch.cat([xy, wh, y[..., 4:]], -1).flatten(1, 3))
    return torch.cat(rows, 1)
