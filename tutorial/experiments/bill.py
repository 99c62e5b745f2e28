"""Section 2.5: what training the nine published models cost, and what it would cost today."""
import numpy as np
from matplotlib.figure import Figure

from clip_minimal import CONFIGS, SHA256
from common import BLUE, GREEN, GREY, ORANGE
from flops import flops

PAIRS = 32 * 400_000_000  # 32 epochs (Section 2.5) of 400 million pairs (Section 2.2)
BATCH = 32_768
RUNS = {"RN50x64": (18, 592), "ViT-L/14": (12, 256)}  # days, V100s (Section 2.5)
UTILISATION = 0.2  # of the peak; assumed of all machines, as these two runs came to 18.1 and 19.6 %

# Peak rates, operations per second on dense half-precision matrices whose products are added up in float32. V100: 125
# TFLOPS (NVIDIA, "Programming Tensor Cores in CUDA 9"). H100 SXM: half of the 1,979 that its data sheet gives with
# sparsity. RTX 4090 of a laptop, 140 W: 76 multiprocessors, 256 multiply-adds each a clock, 1.95 GHz (hmc-tech.com).
V100, H100, LAPTOP = 125e12, 989e12, 75.9e12
MACHINES = {"a laptop's RTX 4090": LAPTOP, "a node of 8 H100": 8 * H100, "100 such nodes": 800 * H100}
DAY = 86400


def operations(name):
    """Of the whole training: forward once and backward twice as much for each pair, texts as long as the context. What
    gradient checkpointing runs again is not counted, as it is not needed. The model for 336 pixels is ViT-L/14's after
    one more epoch (Section 2.5); tiny-RN has train_tiny.py's 1,700 steps."""
    if name == "ViT-L/14@336px":
        return operations("ViT-L/14") + 3 * PAIRS / 32 * sum(flops(CONFIGS[name]))
    return 3 * sum(flops(CONFIGS[name])) * (1700 * 256 if name == "tiny-RN" else PAIRS)


def similarities(batch, gpus=1):
    """Bytes of the float32 similarities of a batch that each GPU holds: all of them if it is one, else the rows of its
    images and the columns of its texts (Section 2.5)."""
    return 4 * batch ** 2 if gpus == 1 else 2 * 4 * batch ** 2 // gpus


def measure(lab):
    """-> a row for each model; what the paper does not say of it is left empty."""
    rows = []
    for name in ["tiny-RN", *SHA256]:
        (image, text), total, batch = flops(CONFIGS[name]), operations(name), 256 if name == "tiny-RN" else BATCH
        days, gpus = RUNS.get(name, (0, 0))
        rows.append({
            "model": name, "GFLOPs per image": image / 1e9, "GFLOPs per text": text / 1e9, "operations": float(total),
            "V100 days": total / (UTILISATION * V100 * DAY), "paper's V100 days": days * gpus or "",
            "utilisation": total / (days * gpus * DAY * V100) if gpus else "",
            **{f"days on {machine}": total / (UTILISATION * rate * DAY) for machine, rate in MACHINES.items()},
            "similarities MB": similarities(batch) / 1e6,
            "similarities MB sharded": similarities(batch, gpus) / 1e6 if gpus else ""})
    return rows


def draw(rows):
    """Left: days of one V100, and the two runs that the paper tells of. Right: days on machines of today, for which a
    model like tiny-RN is too small to keep them busy."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names, days = [row["model"] for row in rows], np.array([row["V100 days"] for row in rows])
    left.barh(names, days, color=BLUE, label="from the operations")
    told = {row["model"]: row["paper's V100 days"] for row in rows if row["utilisation"]}
    shares = ", ".join(f"{row['utilisation']:.1%}" for row in rows if row["utilisation"])
    left.plot(told.values(), told.keys(), "*", color=ORANGE, markersize=14, label=f"the paper's: {shares} of the peak")
    for name, value in zip(names, days):
        left.text(2.2 * value, name, f"{value:,.0f}" if value > 1 else f"{value * DAY:.0f} s", va="center", fontsize=8)
    left.set(xscale="log", xlim=(days.min() / 3, days.max() * 60), ylim=(len(rows) - 0.4, -0.6),
             xlabel=f"days of one V100 at {UTILISATION:.0%} of its peak rate")
    for machine, colour, marker in zip(MACHINES, (ORANGE, GREEN, BLUE), "os^"):
        right.plot([row[f"days on {machine}"] for row in rows[1:]], names[1:], marker, color=colour, label=machine)
    for value, name in ((1 / 24, "hour"), (1, "day"), (365.25 / 12, "month"), (365.25, "year"), (36525, "century")):
        right.axvline(value, color=GREY, linewidth=0.7, zorder=0)
        right.text(value, 0.3, name, ha="center", fontsize=8, backgroundcolor="white")
    right.set(xscale="log", xlim=(0.02, 2e5), xlabel=f"days at {UTILISATION:.0%} of the peak rate")
    for axis in (left, right):
        axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return figure
