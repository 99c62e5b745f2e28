"""Chapter 12, search: OpenAI's preprocessing by hand, and the nearest of many features. All in numpy."""
import numpy as np

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of red, green and blue
STD = (0.26862954, 0.26130258, 0.27577711)


# Exercise 12.1: write, difficulty 1 of 5, about 10 minutes
# hints: python tutorial/grade.py 12.1 --hint 1, then 2, 3
def resized(width, height, R):
    """The size of a picture -> (width, height) after resizing.

    The shorter side is R; the other one keeps the proportion and is cut down to a whole number.
    640 x 427 and R = 224 -> (335, 224).
    """
    raise NotImplementedError("Exercise 12.1")


# Exercise 12.2: write, difficulty 1 of 5, about 10 minutes
# hints: python tutorial/grade.py 12.2 --hint 1, then 2, 3
def crop_box(width, height, R):
    """Size after resizing -> (left, top, right, bottom) of the R x R square in its middle.

    Halves are rounded as Python's round does, to the even number: 335 x 224 and R = 224 ->
    (56, 0, 280, 224).
    """
    raise NotImplementedError("Exercise 12.2")


# Exercise 12.3: bug, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 12.3 --hint 1, then 2, 3
def to_input(pixels):
    """Bytes (R, R, 3) from 0 to 255 -> float32 (3, R, R), normalised by MEAN and STD.

    These are meant for levels from 0 to 1. There are two mistakes.
    """
    x = (pixels.astype("float32") - np.float32(MEAN)) / np.float32(STD)
    return x.reshape(3, *pixels.shape[:2])


# Exercise 12.4: write, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 12.4 --hint 1, then 2, 3
def search(query, features, top):
    """Feature of a text (E,), features of n pictures (n, E), both of any length -> places, cosines.

    Two lists: the `top` best pictures, best first, and their cosines; all of them if there are fewer.
    """
    raise NotImplementedError("Exercise 12.4")


# Exercise 12.5: predict, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 12.5 --hint 1, then 2, 3
def predict_index_size():
    """How many megabytes (10^6 bytes) do the features of a million pictures take (float)?

    Each picture has 512 float32 numbers. Think first.
    """
    raise NotImplementedError("Exercise 12.5")
