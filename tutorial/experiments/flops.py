"""How many operations a model takes: the axis of Figures 4, 9 and 10, and what benchmark.py compares times with."""
import sys
from functools import cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.append(str(Path(__file__).resolve().parents[2]))
from clip_minimal import CLIP


@cache
def flops(config, texts=77):
    """A CLIPConfig -> operations for (one image, one text of `texts` tokens, or of the context where that is shorter):
    matrix products and convolutions as this code writes them (see Transformer for the last block), two a multiply-add.
    On the axis of Figures 4, 9 and 10 it is one: RN50, here 11.6e9 for an image, stands at 6.1 there."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:  # shapes alone; attention as two products
        model = CLIP(config).eval()
        model.encode_image(torch.empty(1, 3, config.image_resolution, config.image_resolution))
        image = counter.get_total_flops()
        model.encode_text(torch.empty(1, min(texts, config.context_length), dtype=torch.long))
    return image, counter.get_total_flops() - image
