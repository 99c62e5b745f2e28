"""How many operations a model takes: the axis of Figures 4, 9 and 10, and what benchmark.py compares times with."""
import sys
from functools import cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
from clip_minimal import CLIP


@cache
def flops(config, texts=77):
    """A CLIPConfig -> the operations for one image, and for one text of `texts` tokens.

    These are the matrix products and convolutions of clip_minimal.py, a multiply-add counted as two
    operations. On the axis of Figures 4, 9 and 10 it is one: RN50, here 11.6e9 for an image, stands at
    6.1 there. A text is at most as long as the context.
    """
    R = config.image_resolution
    tokens = min(texts, config.context_length)
    with torch.device("meta"):  # shapes without numbers: nothing is computed
        model = CLIP(config).eval()
        with FlopCounterMode(display=False) as image_counter:
            model.encode_image(torch.empty(1, 3, R, R))
        with FlopCounterMode(display=False) as text_counter:
            model.encode_text(torch.empty(1, tokens, dtype=torch.long))
    return image_counter.get_total_flops(), text_counter.get_total_flops()
