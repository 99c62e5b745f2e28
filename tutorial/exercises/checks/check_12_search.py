"""Checks of chapter 12."""
import numpy as np

from check_06_loss import unit
from compare import close, expect

MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


def check_12_1(student):
    close(student.resized(640, 427, 224), (335, 224), {
        "the longer side is cut down, not rounded": (336, 224), "the shorter side becomes R": (224, 149),
        "the proportion is kept": (224, 224), "width comes first": (224, 335),
        "a whole number is wanted": (224 * 640 / 427, 224)}, "640 x 427")
    close(student.resized(300, 500, 48), (48, 80),
          {"the shorter side becomes R": (28, 48), "width comes first": (80, 48)}, "300 x 500")
    close(student.resized(100, 100, 224), (224, 224), {"small pictures are made larger": (100, 100)}, "100 x 100")


def check_12_2(student):
    close(student.crop_box(335, 224, 224), (56, 0, 280, 224), {
        "55.5 is rounded to the even number, 56": (55, 0, 279, 224),
        "right and bottom are wanted, not width and height": (56, 0, 224, 224),
        "the middle is wanted, not the corner": (0, 0, 224, 224),
        "whole numbers are wanted": (55.5, 0, 279.5, 224)}, "335 x 224")
    close(student.crop_box(48, 53, 48), (0, 2, 48, 50), {
        "2.5 is rounded to the even number, 2": (0, 3, 48, 51),
        "left comes before top": (2, 0, 50, 48)}, "48 x 53")


def check_12_3(student):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 3)).astype("uint8")
    levels = pixels / 255
    right = ((levels - MEAN) / STD).transpose(2, 0, 1)
    got = student.to_input(pixels)
    close(got, right, {
        "mean and deviation are meant for levels from 0 to 1, and a reshape does not move the channels":
            ((pixels - MEAN) / STD).reshape(3, 2, 2),
        "mean and deviation are meant for levels from 0 to 1": ((pixels - MEAN) / STD).transpose(2, 0, 1),
        "a reshape does not move the channels to the front: transpose": ((levels - MEAN) / STD).reshape(3, 2, 2),
        "rows and columns changed places": right.transpose(0, 2, 1),
        "the deviation divides": ((levels - MEAN) * STD).transpose(2, 0, 1),
        "subtract the mean first": (levels / STD - MEAN).transpose(2, 0, 1),
        "normalise: subtract the mean, divide by the deviation": levels.transpose(2, 0, 1)}, "two by two pixels", 1e-4)
    expect(isinstance(got, np.ndarray) and got.dtype == np.float32, "an array of float32 is wanted")


def check_12_4(student):
    rng = np.random.default_rng(5)
    query, features = rng.normal(size=4), rng.normal(size=(7, 4)) * np.array([[9, 1, 5, 0.2, 3, 0.1, 1]]).T
    cosines, products = unit(features) @ query / np.linalg.norm(query), features @ query
    order = np.argsort(-cosines)
    places, scores = student.search(query, features, 3)
    close(places, order[:3], {
        "long features come first: divide by their lengths": np.argsort(-products)[:3],
        "the best come first: these are the worst": order[::-1][:3],
        "the best comes first: turn the order round": order[:3][::-1],
        "the shortest distance is not the largest cosine, unless lengths are 1":
            np.argsort(((features - query) ** 2).sum(1))[:3]}, "places of three of seven")
    close(scores, cosines[order[:3]], {
        "the query's length must be divided by too": (cosines * np.linalg.norm(query))[order[:3]],
        "cosines of all were returned, not of the best": cosines,
        "these are products, not cosines": products[order[:3]]}, "their cosines")
    close(student.search(query, features, 20)[0], order, {}, "top 20 of seven")
    close(student.search(query, np.repeat(features[:1], 3, 0) * [[1], [2], [3]], 2)[1], [cosines[0]] * 2, {},
          "equal cosines")


def check_12_5(student):
    close(student.predict_index_size(), 2048, {
        "a number of float32 has 4 bytes": 512, "a number of float32 has 4 bytes, not 8": 4096,
        "megabytes are wanted, not gigabytes": 2.048, "32 bits are 4 bytes": 16384,
        "10^6 bytes are meant, not 2^20": 1953.125, "megabytes are wanted, not bytes": 2.048e9}, tolerance=0.005,
        tell=False)
