"""Chapter 12, search: OpenAI's preprocessing by hand, and the nearest of many features. All in numpy."""
import numpy as np

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of red, green and blue
STD = (0.26862954, 0.26130258, 0.27577711)


# Exercise 12.1
def resized(width, height, R):
    """The size of a picture -> (width, height) after resizing.

    The shorter side is R; the other one keeps the proportion and is cut down to a whole number.
    640 x 427 and R = 224 -> (335, 224).
    """
    # solution
    if width <= height:
        return R, R * height // width
    return R * width // height, R
    # end


# Exercise 12.2
def crop_box(width, height, R):
    """Size after resizing -> (left, top, right, bottom) of the R x R square in its middle.

    Halves are rounded as Python's round does, to the even number: 335 x 224 and R = 224 ->
    (56, 0, 280, 224).
    """
    # solution
    left = round((width - R) / 2)
    top = round((height - R) / 2)
    return left, top, left + R, top + R
    # end


# Exercise 12.3
def to_input(pixels):
    """Bytes (R, R, 3) from 0 to 255 -> float32 (3, R, R), normalised by MEAN and STD.

    These are meant for levels from 0 to 1. There are two mistakes.
    """
    # solution
    levels = pixels.astype("float32") / 255  # (R, R, 3)
    x = (levels - np.float32(MEAN)) / np.float32(STD)
    return x.transpose(2, 0, 1)  # (R, R, 3) -> (3, R, R)
    # given
    # x = (pixels.astype("float32") - np.float32(MEAN)) / np.float32(STD)
    # return x.reshape(3, *pixels.shape[:2])
    # end


# Exercise 12.4
def search(query, features, top):
    """Feature of a text (E,), features of n pictures (n, E), both of any length -> places, cosines.

    Two lists: the `top` best pictures, best first, and their cosines; all of them if there are fewer.
    """
    # solution
    query = query / np.linalg.norm(query)  # (E,)
    features = features / np.linalg.norm(features, axis=1, keepdims=True)  # (n, E)
    cosines = features @ query  # (n,)
    places = np.argsort(-cosines)[:top]
    return places.tolist(), cosines[places].tolist()
    # end


# Exercise 12.5
def predict_index_size():
    """How many megabytes (10^6 bytes) do the features of a million pictures take (float)?

    Each picture has 512 float32 numbers. Think first.
    """
    # solution
    return 1e6 * 512 * 4 / 1e6
    # end
