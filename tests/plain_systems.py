"""The published systems by plain reference arithmetic, which the benchmark compares with.

Float32, one operation after the other, as the authors' code computes: spectra by convolution
with the kernels of sines (torchlibrosa's way; TUSS takes the transform), every norm by itself,
nothing in place, attention as products and a softmax, all sources of TUSS in one batch, and
the authors' segments in the authors' batches. Weights are those of our networks, before
anything is folded or packed. A mono mixture `(samples,)` gives stems `(queries, samples)`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stembridge.separators.layers.htsat import FRAMES
from stembridge.separators.layers.locoformer import GroupRmsNorm, Locoformer, Macaron, rotate
from stembridge.separators.layers.resample import resample
from stembridge.separators.layers.resunet import ConvBlockRes, ResUnet30
from stembridge.separators.layers.stft import Stft, power
from stembridge.separators.layers.zeroshot_unet import ConvBlock, ZeroshotUnet

Plain = Callable[[Tensor, Tensor], Tensor]
"""A mixture and prompt vectors `(N, n)` to stems."""


# Spectra by convolution


@lru_cache(maxsize=4)
def _kernels(size: int) -> tuple[Tensor, Tensor]:
    """Windowed cosines and negative sines, `(bins, 1, size)`."""
    time = torch.arange(size, dtype=torch.float64)
    angles = 2 * torch.pi / size * torch.outer(time[: size // 2 + 1], time)
    window = torch.hann_window(size, dtype=torch.float64)
    return (angles.cos() * window).float()[:, None], (-angles.sin() * window).float()[:, None]


@lru_cache(maxsize=4)
def _inverse_kernels(size: int) -> tuple[Tensor, Tensor]:
    """What turns whole spectra into windowed frames, twice `(size, size, 1)`."""
    time = torch.arange(size, dtype=torch.float64)
    angles = 2 * torch.pi / size * torch.outer(time, time)
    window = torch.hann_window(size, dtype=torch.float64)[:, None] / size
    return (angles.cos() * window).float()[..., None], (angles.sin() * window).float()[..., None]


def analyse(signal: Tensor, size: int, hop: int) -> tuple[Tensor, Tensor]:
    """`(B, samples)` to real and imaginary parts `(B, frames, bins)`."""
    padded = F.pad(signal[:, None], (size // 2, size // 2), mode="reflect")
    real, imaginary = (F.conv1d(padded, kernel, stride=hop) for kernel in _kernels(size))
    return real.transpose(1, 2), imaginary.transpose(1, 2)


def synthesise(real: Tensor, imaginary: Tensor, size: int, hop: int, samples: int) -> Tensor:
    """Inverse of `analyse`."""
    real = torch.cat([real, real[..., 1:-1].flip(-1)], dim=-1).transpose(1, 2)
    imaginary = torch.cat([imaginary, -imaginary[..., 1:-1].flip(-1)], dim=-1).transpose(1, 2)
    cosine, sine = _inverse_kernels(size)
    frames = F.conv1d(real, cosine) - F.conv1d(imaginary, sine)
    total = (frames.shape[2] - 1) * hop + size
    signal = F.fold(frames, (1, total), (1, size), stride=(1, hop))[:, 0, 0]
    square = torch.hann_window(size).square()[None, :, None].expand(1, size, frames.shape[2])
    weight = F.fold(square, (1, total), (1, size), stride=(1, hop))[0, 0, 0]
    signal = signal / weight.clamp(min=1e-11)
    return signal[:, size // 2 : size // 2 + samples]


def polar(real: Tensor, imaginary: Tensor, least: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Magnitude, cosine and sine."""
    magnitude = (real**2 + imaginary**2).clamp(min=least) ** 0.5
    safe = magnitude.clamp(min=1e-10)
    return magnitude, real / safe, imaginary / safe


# USS and AudioSep


def resunet(network: ResUnet30, magnitude: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
    """Magnitude mask, and cosine and sine of the turn, each `(B, frames, 1025)`."""

    def norm(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
        return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)

    def gate(module: nn.Module, x: Tensor) -> Tensor:
        beta = module.beta(condition)[:, :, None, None]
        return F.leaky_relu(norm(module.bn, x) + beta, 0.01)

    def block(module: ConvBlockRes, x: Tensor) -> Tensor:
        y = module.conv1(gate(module.gate1, x))
        y = module.conv2(gate(module.gate2, y))
        return (x if module.shortcut is None else module.shortcut(x)) + y

    frames = magnitude.shape[1]
    x = norm(network.bn0, magnitude[:, None].transpose(1, 3)).transpose(1, 3)
    x = network.pre_conv(F.pad(x, (0, 0, 0, -frames % 32))[..., :-1])
    skips = []
    for encoder, scale in zip(network.encoders, network.SCALES, strict=True):
        x = block(encoder, x)
        skips.append(x)
        x = F.avg_pool2d(x, scale)
    x = block(network.bottom, x)
    for decoder in network.decoders:
        x = decoder.conv1(gate(decoder.gate1, x))
        x = block(decoder.conv_block2, torch.cat([x, skips.pop()], dim=1))
    x = F.pad(network.after_conv(x), (0, 1))[:, :, :frames]
    _, cosine, sine = polar(torch.tanh(x[:, 1]), torch.tanh(x[:, 2]))
    return torch.sigmoid(x[:, 0]), cosine, sine


def resunet_segments(network: ResUnet30, segments: Tensor, vector: Tensor) -> Tensor:
    """Segments `(B, samples)` to their stems."""
    magnitude, cosine, sine = polar(*analyse(segments, 2048, 320), least=1e-10)
    mask, turn_cosine, turn_sine = resunet(network, magnitude, vector.expand(len(segments), -1))
    size = torch.relu(magnitude * mask)
    real = size * (cosine * turn_cosine - sine * turn_sine)
    imaginary = size * (sine * turn_cosine + cosine * turn_sine)
    return synthesise(real, imaginary, 2048, 320, segments.shape[1])


# Zero-shot ASP


def zeroshot_segments(network: ZeroshotUnet, segments: Tensor, vector: Tensor) -> Tensor:
    """Segments `(B, samples)` to their stems."""
    query = vector.expand(len(segments), -1)

    def norm(bn: nn.BatchNorm2d, x: Tensor) -> Tensor:
        return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias)

    def step(conv: nn.Module, bn: nn.BatchNorm2d, emb: nn.Module, x: Tensor) -> Tensor:
        return torch.relu(norm(bn, conv(x))) + emb(query)[:, :, None, None]

    def block(module: ConvBlock, x: Tensor) -> Tensor:
        x = step(module.conv1, module.bn1, module.emb1, x)
        return step(module.conv2, module.bn2, module.emb2, x)

    magnitude, cosine, sine = polar(*analyse(segments, 2048, 320))
    frames = magnitude.shape[1]
    x = norm(network.bn0, magnitude[:, None].transpose(1, 3)).transpose(1, 3)
    x = F.pad(x, (0, 0, 0, -frames % 64))[..., :-1]
    skips = []
    for encoder in network.encoders:
        skips.append(block(encoder, x))
        x = F.avg_pool2d(skips[-1], 2)
    x = block(network.bottom, x)
    for decoder in network.decoders:
        x = torch.relu(norm(decoder.bn1, decoder.conv1(x)))
        x = (x + decoder.emb1(query)[:, :, None, None])[:, :, :-1, :-1]
        x = block(decoder.conv_block2, torch.cat([x, skips.pop()], dim=1))
    x = F.pad(network.after_conv(block(network.after_block, x)), (0, 1))[:, 0, :frames]
    size = torch.sigmoid(x) * magnitude
    return synthesise(size * cosine, size * sine, 2048, 320, segments.shape[1])


# CLAPSep; its attention is plain where the caller allows only plain attention


def clapsep_segments(network: nn.Module, segments: Tensor, vector: Tensor) -> Tensor:
    """Segments `(1, samples)` of at most 1024 frames to their stems."""
    magnitude, cosine, sine = polar(*analyse(segments, 1024, 320))
    encoder = network.encoder
    spectrum = torch.complex(*analyse(resample(segments, 32000, 48000), 1024, 480))
    powers = power(spectrum)
    powers = F.pad(powers, (0, 0, 0, FRAMES - powers.shape[1]))
    features = encoder.stages(encoder.mel(powers))
    mask = network.decoder(magnitude, features, F.normalize(vector[None], dim=-1))
    size = torch.relu(magnitude * mask)
    return synthesise(size * cosine, size * sine, 1024, 320, segments.shape[1])


# TUSS


def macaron(module: Macaron, x: Tensor) -> Tensor:
    """Feed-forward, attention, feed-forward, each over whole tensors."""

    def norm(part: GroupRmsNorm, x: Tensor) -> Tensor:
        groups = x.unflatten(-1, (8, -1))
        size = groups.norm(dim=-1, keepdim=True) * groups.shape[-1] ** -0.5
        return (groups / (size + 1e-5)).flatten(-2) * part.gamma

    def feed(part: nn.Module, x: Tensor) -> Tensor:
        (length, dim), kernel = x.shape[1:], part.kernel
        conv = part.into.weight.unflatten(1, (kernel, dim)).transpose(1, 2)
        deconv = part.back.weight.unflatten(0, (kernel, dim)).permute(2, 1, 0)
        padded = F.pad(x.transpose(1, 2), (kernel - 1, kernel - 1))
        value, gate = F.conv1d(padded, conv, part.into.bias).chunk(2, dim=1)
        out = F.conv_transpose1d(value * F.silu(gate), deconv, part.bias)
        return out[..., kernel - 1 : kernel - 1 + length].transpose(1, 2)

    def attend(part: nn.Module, x: Tensor) -> Tensor:
        n, length, _ = x.shape
        qkv = F.linear(x, part.qkv.weight).view(n, length, 3, part.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (rotate(q) @ rotate(k).transpose(-1, -2)) * q.shape[-1] ** -0.5
        mixed = torch.softmax(weights, dim=-1) @ v
        return F.linear(mixed.transpose(1, 2).reshape(n, length, -1), part.out.weight)

    x = x + feed(module.first, norm(module.first_norm, x))
    x = x + attend(module.attn, norm(module.attn_norm, x))
    return x + feed(module.last, norm(module.last_norm, x))


def tuss_segment(network: Locoformer, segment: Tensor, vectors: Tensor) -> Tensor:
    """One segment `(samples,)` to the stems of all prompts."""
    stft = Stft(2048, 512, "sqrt-hann", "zero")
    spread = segment.std() + 1e-8
    spectrum = stft.analyse(segment[None] / spread)

    def run(blocks: nn.ModuleList, x: Tensor) -> Tensor:
        for block in blocks:
            b, t, k, c = x.shape
            x = macaron(block.freq_path, x.reshape(b * t, k, c)).view(b, t, k, c)
            x = x.transpose(1, 2).reshape(b * k, t, c)
            x = macaron(block.frame_path, x).view(b, k, t, c).transpose(1, 2)
        return x

    features = network.split(spectrum)
    heading = torch.cat([vectors, network.start.flatten()[None]])[None, :, None]
    x = torch.cat([heading.expand(1, -1, features.shape[2], -1), features], dim=1)
    x = run(network.cross, x)
    n = len(vectors)
    y = run(network.source, x[:, n + 1 :] * x[0, :n, None])
    return stft.synthesise(spectrum * network.decode(y), len(segment)) * spread


# Whole files, in the authors' segments and batches


def hard_cuts(run: Plain, size: int, batch: int) -> Plain:
    """Segments of `size` samples, the last one filled with zeros, `batch` at a time."""

    def separate(mixture: Tensor, vectors: Tensor) -> Tensor:
        padded = F.pad(mixture, (0, -len(mixture) % size)).view(-1, size)
        stems = [
            torch.cat([run(part, vector) for part in padded.split(batch)]).flatten()
            for vector in vectors
        ]
        return torch.stack(stems)[:, : len(mixture)]

    return separate


def kept_middles(run: Plain, kept: int, context: int) -> Plain:
    """`kept` samples at a time, with `context` before and after as far as there is any."""

    def separate(mixture: Tensor, vectors: Tensor) -> Tensor:
        total, stems = len(mixture), []
        for vector in vectors:
            pieces, start = [], 0
            while start < total:
                low = 0 if start == 0 else start - context
                high = min(total, low + kept + 2 * context)
                out = run(mixture[None, low:high], vector)[0]
                stop = total if high == total else high - context
                pieces.append(out[start - low : stop - low])
                start = stop
            stems.append(torch.cat(pieces))
        return torch.stack(stems)

    return separate


def plain(system: str, network: nn.Module) -> Plain:
    """The authors' way of a system over whole mono files."""
    if system == "clapsep":
        return hard_cuts(lambda x, v: clapsep_segments(network, x, v), 320_000, 1)
    if system == "zeroshot":
        return hard_cuts(lambda x, v: zeroshot_segments(network, x, v), 64_000, 8)
    if system == "uss":
        return hard_cuts(lambda x, v: resunet_segments(network, x, v), 64_000, 8)
    if system == "audiosep":
        return kept_middles(lambda x, v: resunet_segments(network, x, v), 96_000, 32_000)

    def tuss(mixture: Tensor, vectors: Tensor) -> Tensor:
        padded = F.pad(mixture, (0, -len(mixture) % 288_000)).view(-1, 288_000)
        stems = [tuss_segment(network, segment, vectors) for segment in padded]
        return torch.cat(stems, dim=1)[:, : len(mixture)]

    return tuss
