"""Checks of chapter 12."""
import numpy as np

from check_06_loss import unit
from compare import close, expect

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


def check_12_1(student):
    close(student.resized(640, 427, 224), (335, 224), {
        "the longer side is cut down, not rounded": (336, 224),
        "the shorter side becomes R": (224, 149),
        "the proportion is kept": (224, 224),
        "width comes first": (224, 335),
        "a whole number is wanted": (224 * 640 / 427, 224),
    }, "640 x 427")
    close(student.resized(300, 500, 48), (48, 80), {
        "the shorter side becomes R": (28, 48),
        "width comes first": (80, 48),
    }, "300 x 500")
    close(student.resized(100, 100, 224), (224, 224), {
        "small pictures are made larger": (100, 100),
    }, "100 x 100")


def check_12_2(student):
    close(student.crop_box(335, 224, 224), (56, 0, 280, 224), {
        "55.5 is rounded to the even number, 56": (55, 0, 279, 224),
        "right and bottom are wanted, not width and height": (56, 0, 224, 224),
        "the middle is wanted, not the corner": (0, 0, 224, 224),
        "whole numbers are wanted": (55.5, 0, 279.5, 224),
    }, "335 x 224")
    close(student.crop_box(48, 53, 48), (0, 2, 48, 50), {
        "2.5 is rounded to the even number, 2": (0, 3, 48, 51),
        "left comes before top": (2, 0, 50, 48),
    }, "48 x 53")


def check_12_3(student):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3)).astype("uint8")
    levels = pixels / 255
    normalised = (levels - MEAN) / STD
    of_bytes = (pixels - MEAN) / STD
    right = normalised.transpose(2, 0, 1)
    got = student.to_input(pixels)
    close(got, right, {
        "mean and deviation are meant for levels from 0 to 1, and a reshape does not move the channels":
            of_bytes.reshape(3, 2, 2),
        "mean and deviation are meant for levels from 0 to 1": of_bytes.transpose(2, 0, 1),
        "a reshape does not move the channels to the front: transpose": normalised.reshape(3, 2, 2),
        "rows and columns changed places": right.transpose(0, 2, 1),
        "the deviation divides": ((levels - MEAN) * STD).transpose(2, 0, 1),
        "subtract the mean first": (levels / STD - MEAN).transpose(2, 0, 1),
        "normalise: subtract the mean, divide by the deviation": levels.transpose(2, 0, 1),
    }, "two by two pixels", 1e-4)
    expect(isinstance(got, np.ndarray) and got.dtype == np.float32, "an array of float32 is wanted")


def check_12_4(student):
    rng = np.random.default_rng(5)
    query = rng.normal(size=4)
    lengths = np.array([9, 1, 5, 0.2, 3, 0.1, 1])
    features = rng.normal(size=(7, 4)) * lengths[:, None]
    products = features @ query
    times_length = unit(features) @ query
    cosines = times_length / np.linalg.norm(query)
    distances = ((features - query) ** 2).sum(1)
    order = np.argsort(-cosines)
    best = order[:3]
    places, scores = student.search(query, features, 3)
    close(places, best, {
        "long features come first: divide by their lengths": np.argsort(-products)[:3],
        "the best come first: these are the worst": order[::-1][:3],
        "the best comes first: turn the order round": best[::-1],
        "the shortest distance is not the largest cosine, unless lengths are 1": np.argsort(distances)[:3],
    }, "places of three of seven")
    close(scores, cosines[best], {
        "the query's length must be divided by too": times_length[best],
        "cosines of all were returned, not of the best": cosines,
        "these are products, not cosines": products[best],
    }, "their cosines")
    all_places, _ = student.search(query, features, 20)
    close(all_places, order, case="top 20 of seven")
    alike = features[0] * np.array([[1], [2], [3]])  # (3, 4)
    _, scores = student.search(query, alike, 2)
    close(scores, [cosines[0], cosines[0]], case="equal cosines")


def check_12_5(student):
    close(student.predict_index_size(), 2048, {
        "a number of float32 has 4 bytes": 512,
        "a number of float32 has 4 bytes, not 8": 4096,
        "megabytes are wanted, not gigabytes": 2.048,
        "32 bits are 4 bytes": 16384,
        "10^6 bytes are meant, not 2^20": 1953.125,
        "megabytes are wanted, not bytes": 2.048e9,
    }, tolerance=0.005, tell=False)
