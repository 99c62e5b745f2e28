"""What training costs, by hand, and the axis of the models of different sizes."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import bill
from common import Lab


@pytest.fixture(scope="module")
def bills():
    return {row["model"]: row for row in bill.measure(Lab(Path("unused")))}


def test_bill_of_one_model_by_hand(bills):
    """ViT-B/32: 49 patches of 3,072 numbers and 1 class token, 12 blocks 768 wide; a text of 77 tokens, 512 wide. A
    block's products: queries, keys and values 3 D², output D², perceptron 8 D², and 2 T D with keys and values."""
    image = 49 * 3072 * 768 + 11 * 50 * (12 * 768 ** 2 + 2 * 50 * 768) + 768 * 512
    image += 50 * 3 * 768 ** 2 + 9 * 768 ** 2 + 2 * 50 * 768  # of the last block one token is wanted
    text = 11 * 77 * (12 * 512 ** 2 + 2 * 77 * 512) + 512 * 512
    text += 77 * 3 * 512 ** 2 + 9 * 512 ** 2 + 2 * 77 * 512
    operations = 3 * 12.8e9 * 2 * (image + text)
    found = bills["ViT-B/32"]
    assert found["operations"] == pytest.approx(operations, rel=1e-12)
    assert found["V100 days"] == pytest.approx(operations / (0.2 * 125e12) / 86400)
    assert found["days on a node of 8 H100"] == pytest.approx(operations / (0.2 * 8 * 989e12) / 86400)
    assert (found["paper's V100 days"], found["utilisation"], found["similarities MB sharded"]) == ("", "", "")


@pytest.mark.parametrize("name, gpu_days, gflops", [("RN50x64", 10_656, 529.11 + 23.55), ("ViT-L/14", 3_072, 175.33)])
def test_utilisation_of_the_papers_runs(name, gpu_days, gflops, bills):
    """From open_clip's counts, which have all tokens in the last block: a block of 24 more, so 4 %."""
    found = bills[name]
    assert found["paper's V100 days"] == gpu_days
    assert found["utilisation"] == pytest.approx(3 * 12.8e9 * gflops * 1e9 / (gpu_days * 86400 * 125e12), rel=0.04)
    assert abs(found["utilisation"] - bill.UTILISATION) < 0.02, "what is assumed elsewhere"


def test_one_more_epoch_at_336_pixels(bills):
    L14, L14_336 = bills["ViT-L/14"], bills["ViT-L/14@336px"]
    gflops = L14_336["GFLOPs per image"] + L14_336["GFLOPs per text"]
    assert L14_336["operations"] - L14["operations"] == pytest.approx(3 * 4e8 * gflops * 1e9)


def test_memory_of_the_similarities(bills):
    """2^15 pairs have 2^30 similarities of 4 bytes. Of 256 GPUs each has the rows of 128 images and as many columns."""
    assert bill.similarities(2 ** 15) == 2 ** 32
    assert bill.similarities(2 ** 15, 256) == 2 * 128 * 2 ** 15 * 4
    assert bills["RN50x64"]["similarities MB"] == pytest.approx(4294.97, abs=0.01)
    assert bills["RN50x64"]["similarities MB sharded"] == pytest.approx(14.51, abs=0.01)
