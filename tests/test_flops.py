"""The count of operations, against counts by hand and those of others."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
from clip_minimal import CONFIGS, CLIPConfig
from flops import flops


def transformer_flops(T, D, layers):
    """Of each of T tokens in each block: queries, keys and values; two products with the T keys and values; the output
    projection; the perceptron."""
    return layers * T * (2 * 3 * D ** 2 + 2 * 2 * T * D + 2 * D ** 2 + 2 * 8 * D ** 2)


@pytest.mark.parametrize("texts", [77, 8])
def test_flops_of_transformers_by_hand(texts):
    image, text = flops(CONFIGS["ViT-B/32"], texts)
    patches = 2 * 7 * 7 * (3 * 32 * 32) * 768
    assert image == patches + transformer_flops(1 + 7 * 7, 768, 12) + 2 * 768 * 512
    assert text == transformer_flops(texts, 512, 12) + 2 * 512 * 512


def test_flops_of_a_resnet_by_hand():
    """Each convolution: side of its output, channels in and out, side of its kernel."""
    convolutions = [
        (32, 3, 4, 3), (32, 4, 4, 3), (32, 4, 8, 3),
        (16, 8, 8, 1), (16, 8, 8, 3), (16, 8, 32, 1), (16, 8, 32, 1),  # the last of four is the shortcut's
        (16, 32, 16, 1), (16, 16, 16, 3), (8, 16, 64, 1), (8, 32, 64, 1),
        (8, 64, 16, 1), (8, 16, 16, 3), (8, 16, 64, 1),
        (8, 64, 32, 1), (8, 32, 32, 3), (4, 32, 128, 1), (4, 64, 128, 1),
        (4, 128, 64, 1), (4, 64, 64, 3), (2, 64, 256, 1), (2, 128, 256, 1)]
    query, keys_and_values, products, output = 256 * 256, 2 * 5 * 256 * 256, 2 * 5 * 256, 256 * 32
    expected = sum(side ** 2 * before * after * kernel ** 2 for side, before, after, kernel in convolutions)
    expected += query + keys_and_values + products + output
    assert flops(CLIPConfig(32, 64, (1, 2, 1, 1), 8, None, 64))[0] == 2 * expected


@pytest.mark.parametrize("name, image, text", [
    ("RN50", 12.22, 5.96), ("RN101", 19.54, 5.96), ("RN50x4", 42.56, 9.27), ("RN50x16", 149.39, 13.3),
    ("RN50x64", 529.11, 23.55), ("ViT-B/32", 8.82, 5.96), ("ViT-B/16", 35.13, 5.96), ("ViT-L/14", 162.03, 13.3),
    ("ViT-L/14@336px", 381.92, 13.3)])
def test_flops_of_the_published_models(name, image, text):
    """Within 0.1 % of the list in open_clip's docs/model_profile.csv (GFLOPs). There, attention pooling computes its
    queries, its two products and its output projection for all places, not for the mean alone."""
    c, (ours, ours_text) = CONFIGS[name], flops(CONFIGS[name])
    if c.vision_patch_size is None:
        places, C = (c.image_resolution // 32) ** 2, 32 * c.vision_width
        ours += places * (2 * C * C + 2 * 2 * (places + 1) * C + 2 * C * c.embed_dim)
    assert (ours / 1e9, ours_text / 1e9) == pytest.approx((image, text), rel=0.001)


def test_flops_of_a_text_longer_than_the_context():
    assert flops(CONFIGS["tiny-RN"]) == flops(CONFIGS["tiny-RN"], 32)
