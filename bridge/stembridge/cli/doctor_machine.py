"""`stembridge doctor`, the machine: Python and packages, where torch computes, its threads.

Only what is installed here is looked at; nothing is loaded but torch, and nothing is written.
"""

from __future__ import annotations

from .doctor_findings import Context, Finding


def check_versions(context: Context) -> list[Finding]:
    """Python and the packages, each by the version that is installed."""
    import platform
    import sys
    from importlib import metadata

    from .. import __version__

    versions: dict[str, str] = {"stembridge": __version__, "python": platform.python_version()}
    findings = []
    for name in ("torch", "numpy", "pedalboard", "soundfile", "python-osc", "safetensors"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(
                Finding("problem", name, f"not installed. Install it: pip install {name}")
            )
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    system = f"{platform.system()} {platform.machine()}"
    level = "ok" if (3, 11) <= sys.version_info[:2] <= (3, 12) else "note"
    found = Finding(level, "versions", f"{text}; {system}", versions | {"system": system})
    return [found, *findings]


def check_device(context: Context) -> list[Finding]:
    """Where torch computes, and whether its build suits this machine."""
    import torch

    build = "CUDA " + torch.version.cuda if torch.version.cuda else "CPU"
    data = {"torch_build": build, "cuda": torch.cuda.is_available()}
    findings = []
    if torch.cuda.is_available():
        findings.append(Finding("ok", "device", f"GPU: {torch.cuda.get_device_name(0)}", data))
    elif torch.backends.mps.is_available():
        findings.append(Finding("ok", "device", "Apple GPU (mps)", data))
    else:
        findings.append(
            Finding("ok", "device", f"CPU, {_cpu_name()}; torch built for {build}", data)
        )
    advice = torch_advice(
        cuda_build=torch.version.cuda is not None,
        cuda_works=torch.cuda.is_available(),
        has_gpu=_has_nvidia_gpu(),
    )
    if advice:
        findings.append(Finding("note", "torch", advice))
    return findings


def torch_advice(cuda_build: bool, cuda_works: bool, has_gpu: bool) -> str:
    """What to do about a torch build that does not suit the machine; empty if it does."""
    cpu_index = "--index-url https://download.pytorch.org/whl/cpu"
    if cuda_build and not has_gpu:
        return (
            "This torch carries CUDA, several GB that nothing here can use. The CPU build is "
            f"enough: pip install --force-reinstall torch {cpu_index}"
        )
    if has_gpu and not cuda_build:
        return (
            "There is an NVIDIA GPU, and this torch cannot use it. Install the CUDA build: "
            "pip install --force-reinstall torch"
        )
    if has_gpu and not cuda_works:
        return (
            "There is an NVIDIA GPU, but torch cannot reach it: its driver is older than this "
            "torch needs, or not loaded. Check with: nvidia-smi"
        )
    return ""


def _has_nvidia_gpu() -> bool:
    from pathlib import Path

    if Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists():
        return True
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    for vendor in vendors:
        try:
            kind = (vendor.parent / "class").read_text()
            if vendor.read_text().strip() == "0x10de" and kind.startswith("0x03"):
                return True
        except OSError:
            continue
    return False


def _cpu_name() -> str:
    import os
    import platform
    from pathlib import Path

    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * ((cores or 1) > 1)}"


def check_threads(context: Context) -> list[Finding]:
    """How many threads torch takes by itself."""
    import torch

    threads = torch.get_num_threads()
    return [Finding("ok", "threads", f"{threads} for one separation", {"threads": threads})]
