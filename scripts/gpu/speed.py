"""Steps 1 to 4 of a GPU check: what there is, and how fast iGTT, training and prediction are."""

import math
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from gpu import measure
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.networks import ENCODERS
from napari_metastructure.networks.build import NetworkSpec, build
from napari_metastructure.networks.device import list_devices
from napari_metastructure.networks.model import Model
from napari_metastructure.networks.model_file import Use
from napari_metastructure.training.config import TrainConfig
from napari_metastructure.training.events import BatchFinished, EpochFinished, Event, Finished, TrainEpoch
from napari_metastructure.training.metrics import dice
from napari_metastructure.training.pairs import pairs_of
from napari_metastructure.training.train import train

SECONDS_CROPS, SHARE_ON_DEVICE, SECONDS_LARGE = 10.0, 0.85, 20.0
"""What is asked of an H100."""

PROFILED = 5
"""Steps that are profiled: a network takes thousands of kernels a step, and each costs the profiler time."""

DICE_AWAY = 0.05
"""How far the Dice of mixed precision may be from that of float32."""

MASKS_AWAY = 0.01
"""Share of pixels at which masks of two devices may differ where those of two seeds agree better than that."""


# ---- 1: doctor ---------------------------------------------------------------------------------------------------


def doctor(step: measure.Step) -> None:
    """Report names, memory, driver, versions, and what half precision gives."""
    device = step.device
    cuda = device.type == "cuda"
    step.row("python, system", f"{platform.python_version()}, {platform.platform()}")
    step.row("processor", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    step.row("main memory", psutil.virtual_memory().total / 2**30, "GiB")
    step.row("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    for found in list_devices():
        free = "" if found.free_bytes is None else f", {found.free_bytes / 2**30:.1f} GiB free"
        step.row(f"device {found.id}", f"{found.name}{free}")
    if not cuda:
        step.row("GPU", "none", note="No CUDA device: everything below ran on the CPU, at the smallest sizes.")
    else:
        with step.part("card"):
            facts = torch.cuda.get_device_properties(device)
            step.row("memory of the card", facts.total_memory / 2**30, "GiB")
            step.row("compute capability", f"{facts.major}.{facts.minor}")
            step.row("bfloat16", "supported" if torch.cuda.is_bf16_supported() else "not supported")
            step.row("float32 convolutions use TF32", str(torch.backends.cudnn.allow_tf32))
        with step.part("driver"):
            step.row("driver", _driver())
    with step.part("precision of the engine"):
        for use, number in _precision(step).items():
            step.row(f"precision of the engine in {use}", number)
    side, channels, batch = (256, 64, 16) if cuda else (32, 8, 1)
    for dtype in (torch.float32, torch.bfloat16, *([torch.float16] if cuda else [])):
        with step.part(f"convolution in {dtype}"):
            layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device, dtype)
            layer = layer.to(memory_format=torch.channels_last)
            x = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
            x = x.to(memory_format=torch.channels_last)
            with torch.inference_mode():
                seconds = measure.seconds_each(device, lambda layer=layer, x=x: layer(x), 20 if cuda else 3)  # type: ignore[misc]
            step.row(f"convolution in {dtype}", 18 * channels**2 * batch * side**2 / seconds / 1e12, "TFLOP/s")


def _precision(step: measure.Step) -> dict[str, str]:
    """Return the number format that networks run in, as a short run shows it."""
    found: dict[str, str] = {}

    def look(network: torch.nn.Module, _: Any) -> None:
        kind = step.device.type
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        found["training" if network.training else "prediction"] = str(half)

    images, masks = measure.scenes(2, (64, 64))
    config = TrainConfig(device=str(step.device), epochs=1, steps_per_epoch=2, patch_size=64)
    with measure.forward_hook(look):
        for _ in step.timely(train(pairs_of(images, masks), config)):
            pass
    return found


def _driver() -> str:
    """Return the driver's version, from nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "unknown: nvidia-smi is not here"
    ask = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout.split("\n")[0]


# ---- 2: iGTT -----------------------------------------------------------------------------------------------------


def igtt(step: measure.Step) -> None:
    """Without labels: how long it takes, where the time goes, and whether the masks are those of the CPU."""
    sizes = measure.sizes_of(step)
    height, width = sizes.frame
    sets = {
        f"{sizes.crops} crops of {sizes.side}x{sizes.side}": measure.scenes(sizes.crops, (sizes.side, sizes.side)),
        f"one frame of {height}x{width}": measure.scenes(1, sizes.frame, first=1000),
    }
    with step.part("warm-up"):
        images, _ = measure.scenes(1, (sizes.side, sizes.side))
        _segment(step, images, str(step.device), rounds=1, steps=2)
    found, seeds = {}, {}
    for name, (images, truths) in sets.items():
        with step.part(name):
            result, first, total, outside = _segment(step, images, str(step.device))
            found[name] = result
            asked = {"target": f"<= {SECONDS_CROPS:g} s", "ok": total <= SECONDS_CROPS} if len(images) > 1 else {}
            step.row(f"{name}: to the final masks", total, "s", judged=False, note=result.reason, **asked)  # type: ignore[arg-type]
            step.row(f"{name}: to the first masks", first, "s")
            step.row(f"{name}: share outside the network", 100 * outside, "%")
            step.row(f"{name}: Dice against the simulated truth", _dice(result.masks, truths))
    for name, (images, _) in sets.items():
        if name in found:
            with step.part(f"{name}: masks of another seed"):
                seeds[name] = measure.differing(
                    found[name].masks, _segment(step, images, str(step.device), seed=1)[0].masks
                )
                step.row(f"{name}: pixels that another seed decides differently", 100 * seeds[name], "%")
    for name, (images, truths) in sets.items():
        if name in found:
            with step.part(f"{name}: masks of the CPU"):
                cpu, _, total, _ = _segment(step, images, "cpu")
                share, limit = measure.differing(found[name].masks, cpu.masks), max(MASKS_AWAY, seeds.get(name, 0))
                more = {"CPU s": total, "CPU Dice": _dice(cpu.masks, truths)}
                step.row(
                    f"{name}: pixels that the CPU decides differently", 100 * share, "%",
                    f"<= {MASKS_AWAY:.0%} or another seed's", share <= limit, more=more,
                )  # fmt: skip


def _segment(
    step: measure.Step, images: Sequence[np.ndarray], device: str, rounds: int = 0, steps: int = 0, seed: int = 0
) -> tuple[Finished, float, float, float]:
    """Return the result, seconds to the first masks and to the last, and the share outside the network."""
    sizes = measure.sizes_of(step)
    config = IGTTConfig.from_preset(
        "default", rounds="always", device=device, seed=seed, patch_size=sizes.patch, epochs=rounds or sizes.rounds,
        steps_per_epoch=steps or sizes.steps,
    )  # fmt: skip
    began, first, inside, outside, result = measure.now(step.device), 0.0, 0.0, 0.0, None
    for event in step.timely(iterate(images, config)):
        if isinstance(event, EpochFinished):
            first = first or measure.now(step.device) - began
            if event.epoch:
                inside, outside = inside + event.seconds - event.seconds_outside, outside + event.seconds_outside
        elif isinstance(event, Finished):
            result = event
    assert result is not None
    return result, first, measure.now(step.device) - began, outside / (inside + outside)


def _dice(masks: Sequence[np.ndarray], truths: Sequence[np.ndarray]) -> float:
    """Mean over the images."""
    return float(np.mean([dice(mask, truth) for mask, truth in zip(masks, truths, strict=True)]))


# ---- 3: supervised training --------------------------------------------------------------------------------------


def training(step: measure.Step) -> None:
    """With labels: images per second, the share of the time that the device works, and what was learned."""
    sizes = measure.sizes_of(step)
    with measure.Busy(step.device):  # its first use takes seconds
        torch.zeros(1, device=step.device).add_(1)
    learned: dict[tuple[str, str], float] = {}
    for batch, steps in sizes.batches.items():
        for network in measure.NETWORKS:
            for precision in ("mixed", "float32"):
                with step.part(f"{network}, batch {batch}, {precision}"):
                    found = _train_speed(step, network, batch, steps, precision)
                    if batch == min(sizes.batches):
                        learned[network, precision] = found
    for network in measure.NETWORKS:
        if (network, "mixed") in learned and (network, "float32") in learned:
            mixed, single = learned[network, "mixed"], learned[network, "float32"]
            steps = 4 * sizes.batches[min(sizes.batches)]
            step.row(
                f"{network}: Dice after {steps} steps, mixed less float32", mixed - single,
                target=f"within {DICE_AWAY:g}", ok=abs(mixed - single) <= DICE_AWAY, judged=False,
                more={"mixed": mixed, "float32": single},
            )  # fmt: skip


def _train_speed(step: measure.Step, network: str, batch: int, steps: int, precision: str) -> float:
    """Four epochs: one to warm up, two against the clock, one under the profiler. The Dice at the end."""
    sizes, encoder = measure.sizes_of(step), ENCODERS[network]
    images, masks = measure.scenes(sizes.crops, (sizes.side, sizes.side))
    held_images, held_masks = measure.scenes(2, (sizes.side, sizes.side), first=500)
    config = TrainConfig(
        network=network, device=str(step.device), epochs=4, steps_per_epoch=steps, batch_size=batch,  # type: ignore[arg-type]
        patch_size=sizes.patch, seed=0,
    )  # fmt: skip
    warnings: list[str] = []
    busy, used = measure.Busy(step.device), measure.utilisation(step.device)
    with nullcontext() if precision == "mixed" else measure.float32(), measure.Peaks(step.device) as peaks:
        events = step.timely(train(pairs_of(images, masks), config, validation=pairs_of(held_images, held_masks)))
        _epoch(step, events, warnings)
        with used:
            timed = [_epoch(step, events, warnings) for _ in range(2)]
        _, last = _epoch(step, events, warnings, busy)
        measure.close(events)
    each = sum(seconds for seconds, _ in timed) / 2
    # The profiler makes steps longer, but not what the device does in them: so it is compared with the steps before.
    share = min(1.0, busy.seconds / min(PROFILED, steps - 1) / each)
    driver = float(np.mean(used.values)) / 100 if used.values else math.nan
    shares = {
        "on the device": share,
        "utilisation by the driver": driver,
        "drawing patches": sum(epoch.seconds_data for _, epoch in timed) / (2 * steps) / each,
    }
    found = last.validation.dice if last.validation else math.nan
    more: dict[str, float | str] = {key: f"{value:.0%}" for key, value in shares.items() if math.isfinite(value)}
    name = network if encoder == "none" else f"{network} ({encoder})"
    works = share if math.isfinite(share) else driver
    step.row(
        f"{name}, batch {batch}, {precision}", batch / each, "images/s", f">= {SHARE_ON_DEVICE:.0%} on the device",
        works >= SHARE_ON_DEVICE, "; ".join([*busy.trouble, *warnings]),
        {**more, "loss": last.loss, "Dice": found, **peaks.more}, judged=False,
    )  # fmt: skip
    if not math.isfinite(last.loss):
        raise FloatingPointError(f"The loss is {last.loss}.")
    return found


def _epoch(
    step: measure.Step, events: Iterator[Event], warnings: list[str], busy: measure.Busy | None = None
) -> tuple[float, TrainEpoch]:
    """Go through one epoch, `PROFILED` steps of it under the profiler: seconds a step, and its `TrainEpoch`."""
    batch = measure.until(events, BatchFinished, warnings)
    count = batch.batches - 1
    with busy or nullcontext():
        began = measure.now(step.device)
        for _ in range(min(PROFILED, count) if busy else count):
            measure.until(events, BatchFinished, warnings)
        seconds = measure.now(step.device) - began
    return seconds / count, measure.until(events, TrainEpoch, warnings)


# ---- 4: prediction -----------------------------------------------------------------------------------------------


def prediction(step: measure.Step) -> None:
    """Predict a large image, and report seconds and the most memory it takes."""
    sizes = measure.sizes_of(step)
    tile = measure.scenes(1, (min(1024, sizes.large // 2),) * 2)[0][0]
    repeats = -(-sizes.large // len(tile))
    image = np.tile(tile, (repeats, repeats))[: sizes.large, : sizes.large].astype(np.uint16)
    for network in ("light-unet", "unet"):
        name = f"{network}: {sizes.large}x{sizes.large} uint16"
        with step.part(name):
            spec = NetworkSpec(architecture=network, encoder=ENCODERS[network])  # type: ignore[arg-type]
            use = Use(inputs="percentile", patch=(sizes.patch, sizes.patch))
            model = Model(build(spec, 0).eval(), spec, use, Path("a network without training"))
            model.predict(image[: 2 * sizes.patch, : 2 * sizes.patch], step.device)  # to warm up
            with measure.Peaks(step.device) as peaks:
                began = measure.now(step.device)
                found = model.predict(image, step.device, step.check_time)
                seconds = measure.now(step.device) - began
            assert found.labels.shape == image.shape
            step.row(
                name, seconds, "s", f"<= {SECONDS_LARGE:g} s", seconds <= SECONDS_LARGE, judged=False,
                more={**peaks.more, "image MiB": image.nbytes / measure.MIB},
            )  # fmt: skip
            model.release()
