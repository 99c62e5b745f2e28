"""Section 2.5: what training the nine published models cost, and what it would cost today."""
import numpy as np
from matplotlib.figure import Figure

from clip_minimal import CONFIGS, SHA256
from common import BLUE, GREEN, GREY, ORANGE
from flops import flops
from train_tiny import STEPS

PAIRS = 32 * 400_000_000  # 32 epochs (Section 2.5) of 400 million pairs (Section 2.2)
BATCH = 32_768
RUNS = {"RN50x64": (18, 592), "ViT-L/14": (12, 256)}  # days, V100s (Section 2.5)
UTILISATION = 0.2  # of the peak; assumed of all machines, as these two runs came to 18.1 and 20.3 %

# Peak rates, operations per second on dense half-precision matrices whose products are added up in float32.
V100 = 125e12  # NVIDIA, "Programming Tensor Cores in CUDA 9"
H100 = 989e12  # SXM: half of the 1,979 TFLOPS that its data sheet gives with sparsity
# RTX 4090 of 140 W: 76 multiprocessors, 256 multiply-adds each a clock, 1.95 GHz (hmc-tech.com)
LAPTOP = 75.9e12
MACHINES = {"a laptop's RTX 4090": LAPTOP, "a node of 8 H100": 8 * H100, "100 such nodes": 800 * H100}
DAY = 86400


def operations(name):
    """The operations of a whole training: for each pair once forward, and twice as much backward.

    Texts are as long as the context. What gradient checkpointing runs again is not counted, as it is
    not needed. The model for 336 pixels is ViT-L/14's after one more epoch (Section 2.5); tiny-RN has
    the default run of train_tiny.py.
    """
    for_image, for_text = flops(CONFIGS[name])
    step = 3 * (for_image + for_text)  # of one pair
    if name == "tiny-RN":
        return step * STEPS[name] * 256
    if name == "ViT-L/14@336px":
        return operations("ViT-L/14") + step * PAIRS / 32
    return step * PAIRS


def similarities(batch, gpus=1):
    """Bytes of the float32 similarities of a batch that each GPU holds.

    A single one holds all. Of several, each holds the rows of its images and the columns of its texts
    (Section 2.5).
    """
    if gpus == 1:
        return 4 * batch ** 2
    return 2 * 4 * batch ** 2 // gpus


def measure(lab):
    """-> a row for each model; what the paper does not say of it is left empty."""
    rows = []
    for name in ["tiny-RN", *SHA256]:
        for_image, for_text = flops(CONFIGS[name])
        total = operations(name)
        batch = 256 if name == "tiny-RN" else BATCH
        row = {
            "model": name,
            "GFLOPs per image": for_image / 1e9,
            "GFLOPs per text": for_text / 1e9,
            "operations": float(total),
            "V100 days": total / (UTILISATION * V100 * DAY),
            "paper's V100 days": "",
            "utilisation": "",
        }
        for machine, rate in MACHINES.items():
            row[f"days on {machine}"] = total / (UTILISATION * rate * DAY)
        row["similarities MB"] = similarities(batch) / 1e6
        row["similarities MB sharded"] = ""
        if name in RUNS:
            days, gpus = RUNS[name]
            row["paper's V100 days"] = days * gpus
            row["utilisation"] = total / (days * gpus * DAY * V100)
            row["similarities MB sharded"] = similarities(batch, gpus) / 1e6
        rows.append(row)
    return rows


def draw(rows):
    """Left: days of one V100, and the two runs that the paper tells of. Right: days on machines of today.

    A model like tiny-RN is too small to keep those busy, so it is not there.
    """
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    draw_v100(left, rows)
    draw_machines(right, rows[1:])
    for axis in (left, right):
        axis.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def draw_v100(axis, rows):
    """A bar for each model, its days in numbers, and a star where the paper tells them."""
    names = [row["model"] for row in rows]
    days = np.array([row["V100 days"] for row in rows])
    axis.barh(names, days, color=BLUE, label="from the operations")
    for name, value in zip(names, days):
        text = f"{value:,.0f}"
        if value < 1:
            text = f"{value * DAY:.0f} s"
        axis.text(3 * value, name, text, va="center", fontsize=9)
    # the two runs of the paper
    told = [row for row in rows if row["utilisation"]]
    told_days = [row["paper's V100 days"] for row in told]
    told_names = [row["model"] for row in told]
    shares = " and ".join(f"{row['utilisation']:.1%}" for row in told)
    axis.plot(told_days, told_names, "*", color=ORANGE, markersize=14, label=f"the paper's: {shares} of the peak")
    axis.set(xscale="log", xlabel=f"days of one V100 at {UTILISATION:.0%} of its peak")
    axis.set_xlim(days.min() / 3, days.max() * 200)
    axis.set_ylim(len(rows) - 0.4, -0.6)


def draw_machines(axis, rows):
    """A mark for each model and machine; lines at an hour, a day and so on."""
    names = [row["model"] for row in rows]
    for machine, colour, marker in zip(MACHINES, [ORANGE, GREEN, BLUE], "os^"):
        days = [row[f"days on {machine}"] for row in rows]
        axis.plot(days, names, marker, color=colour, label=machine)
    marks = {"hour": 1 / 24, "day": 1, "month": 365.25 / 12, "year": 365.25, "century": 36525}
    for name, value in marks.items():
        axis.axvline(value, color=GREY, linewidth=0.7, zorder=0)
        axis.text(value, 0.2, name, ha="center", fontsize=9, backgroundcolor="white")
    axis.set(xscale="log", xlim=(0.01, 3e5), xlabel=f"days at {UTILISATION:.0%} of the peak")
