"""One photograph of a building: viewpoint, weather, neighbours, passers-by, lens and film.

In: a building, the stock of the street, a random generator. Out: an RGB image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from student_trainer.demo.scenery.buildings import Building
from student_trainer.demo.scenery.camera import NEAREST_M, Camera, draw_sheet, faces_viewer, look_at
from student_trainer.demo.scenery.palette import Colour, Rng, between, chance, pick, scaled, varied
from student_trainer.demo.scenery.solids import Face, Round, Solid, Vectors
from student_trainer.demo.scenery.street import Standing, Stock
from student_trainer.demo.scenery.weather import Weather, draw_weather, paint_sky

OVERSAMPLE = 2
SHAPES: tuple[tuple[int, int], ...] = ((4, 3), (3, 4), (1, 1))
GROUNDS: tuple[Colour, ...] = (
    (150, 146, 138),
    (112, 110, 108),
    (104, 128, 74),
    (186, 172, 142),
    (134, 112, 92),
)


@dataclass(frozen=True)
class Surroundings:
    """What every photograph of a set shares."""

    stock: Stock
    clouds: NDArray[np.float32]


def photograph(rng: Rng, building: Building, surroundings: Surroundings, side_px: int) -> Image.Image:
    """A new photograph; its longest side is ``side_px``."""
    shape = pick(rng, SHAPES)
    size = (side_px * shape[0] // max(shape), side_px * shape[1] // max(shape))
    canvas = (size[0] * OVERSAMPLE, size[1] * OVERSAMPLE)
    weather, camera = draw_weather(rng), _stand_somewhere(rng, building, canvas)
    picture = paint_sky(rng, weather, canvas, surroundings.clouds)
    _paint_ground(rng, picture, camera, weather)
    _put_neighbours(rng, picture, camera, weather, building, surroundings.stock)
    _cast_shadow(picture, camera, weather, building)
    for solid in sorted(building.solids, key=lambda solid: _painting_order(solid, camera)):
        _draw_solid(picture, solid, camera, weather)
    _put_passers_by(rng, picture, camera, weather, building, surroundings.stock)
    return _exposed(rng, picture.reduce(OVERSAMPLE), weather)


def _stand_somewhere(rng: Rng, building: Building, canvas: tuple[int, int]) -> Camera:
    """Anywhere within some 45 degrees of the front, near or far, level or tilted, aimed roughly."""
    azimuth = math.radians(float(np.clip(rng.normal(0, 18), -45, 45)))
    field_of_view = math.radians(between(rng, 42, 68))
    focal_px = max(canvas) / 2 / math.tan(field_of_view / 2)
    fill = between(rng, 0.7, 1.15)
    seen_width = building.width * math.cos(azimuth) + building.depth * abs(math.sin(azimuth))
    distance = focal_px * max(seen_width / canvas[0], building.height / canvas[1]) / fill
    target = np.array(
        (
            building.width * rng.normal(0, 0.09),
            building.height * between(rng, 0.36, 0.56),
            building.depth / 2,
        )
    )
    distance = max(distance, building.depth * 0.8 + 4)
    offset = np.array((math.sin(azimuth), 0.0, -math.cos(azimuth))) * (distance + building.depth / 2)
    position = (
        np.array((0.0, between(rng, 1.6, min(7.0, 1.6 + building.height * 0.2)), building.depth / 2)) + offset
    )
    roll = math.radians(float(rng.normal(0, 2.5)))
    return look_at(position, target, roll, focal_px, canvas, level=between(rng, 0.2, 1.0))


def _paint_ground(rng: Rng, picture: Image.Image, camera: Camera, weather: Weather) -> None:
    colour = varied(rng, pick(rng, GROUNDS), 0.1)
    light = weather.on_ground() * (0.75 if weather.night else 1.0)
    near = _lit(colour, light)
    pen = ImageDraw.Draw(picture)
    pen.polygon(camera.horizon(), fill=_mixed(near, weather.hour.horizon, weather.hour.haze))
    tone = scaled(near, between(rng, 0.82, 1.12))
    if chance(rng, 0.6):
        _paint_paving(rng, pen, camera, tone)


def _paint_paving(rng: Rng, pen: ImageDraw.ImageDraw, camera: Camera, tone: Colour) -> None:
    """Lines of slabs, and perhaps a path or a street."""
    pitch = between(rng, 2.5, 7.0)
    near, far = camera.position[2] + 1.0, 60.0
    for x in np.arange(-60, 60, pitch):
        _ground_line(pen, camera, (x, near), (x, far), tone)
    for z in np.arange(near, far, pitch):
        _ground_line(pen, camera, (-80, z), (80, z), tone)


def _ground_line(
    pen: ImageDraw.ImageDraw,
    camera: Camera,
    start: tuple[float, float],
    end: tuple[float, float],
    tone: Colour,
) -> None:
    ends = np.array([(start[0], 0.0, start[1]), (end[0], 0.0, end[1])])
    pixels, depth = camera.project(ends)
    if depth.min() > NEAREST_M:
        pen.line([tuple(p) for p in pixels.tolist()], fill=tone, width=2)


def _put_neighbours(
    rng: Rng, picture: Image.Image, camera: Camera, weather: Weather, building: Building, stock: Stock
) -> None:
    """Rows of houses and trees behind the landmark and to its sides, paler with distance."""
    for distance, kinds in ((70.0, stock.neighbours), (34.0, stock.neighbours), (16.0, stock.trees)):
        if chance(rng, 0.35):
            continue
        crowd = between(rng, 0.2, 0.9)
        for x in np.arange(-75, 75, 15 if kinds is stock.neighbours else 9):
            thing = pick(rng, kinds)
            place = np.array((x + between(rng, -3, 3), 0.0, building.depth + distance + between(rng, -4, 4)))
            if chance(rng, crowd):
                _draw_standing(picture, camera, weather, thing, place)
    for hand in (-1, 1):
        if chance(rng, 0.4):
            thing = pick(rng, stock.neighbours)
            beside = hand * (building.width / 2 + thing.width / 2 + between(rng, 3, 10))
            _draw_standing(picture, camera, weather, thing, np.array((beside, 0.0, building.depth * 0.7)))


def _put_passers_by(
    rng: Rng, picture: Image.Image, camera: Camera, weather: Weather, building: Building, stock: Stock
) -> None:
    """Trees, lamps, cars and people between the camera and the landmark, the farthest first."""
    ahead = building.depth / 2 - camera.position[2]
    placed: list[tuple[float, Standing, float]] = []
    for kind, most, spread in (
        (stock.trees, 3, 1.0),
        (stock.lamps, 2, 0.8),
        (stock.cars, 3, 0.6),
        (stock.people, 7, 0.5),
    ):
        for _ in range(int(rng.integers(0, most + 1)) if chance(rng, 0.35) else 0):
            share = between(rng, 0.12, 0.8) if kind is not stock.trees else between(rng, 0.3, 0.9)
            placed.append((share, pick(rng, kind), float(rng.normal(0, spread * 0.5))))
    heading = -camera.position + np.array((0.0, 0.0, building.depth / 2))
    heading[1] = 0.0
    across = np.array((heading[2], 0.0, -heading[0])) / max(1e-6, float(np.linalg.norm(heading)))
    for share, thing, aside in sorted(placed, key=lambda item: item[0], reverse=True):
        reach = share * max(4.0, ahead - building.depth / 2)
        place = camera.position + heading / np.linalg.norm(heading) * reach + across * aside * reach
        place[1] = 0.0
        if place[2] < -0.5:
            _draw_standing(picture, camera, weather, thing, place)


def _draw_standing(
    picture: Image.Image, camera: Camera, weather: Weather, thing: Standing, foot: Vectors
) -> None:
    pixels, depth = camera.project(camera.upright(foot, thing.width, thing.height))
    if depth.min() <= NEAREST_M * 2:
        return
    toward = camera.position - foot
    light = weather.on_wall(toward / np.linalg.norm(toward))
    sheet = _tinted(thing.sheet.at(weather.night), light, weather, float(depth.mean()))
    draw_sheet(picture, sheet, pixels)


def _cast_shadow(picture: Image.Image, camera: Camera, weather: Weather, building: Building) -> None:
    """The dark foot of the building, and its shadow away from the sun."""
    sun, half = weather.sun_direction, building.width / 2
    reach = 0.0 if weather.night else min(14.0, building.height * 0.35 / max(0.15, float(sun[1])))
    dx, dz = -sun[0] * reach, -sun[2] * reach
    foot = [(-half, -0.4), (half, -0.4), (half, building.depth), (-half, building.depth)]
    shadow = Image.new("L", picture.size, 0)
    pen = ImageDraw.Draw(shadow)
    for step in range(4):
        moved = np.array([(x + dx * step / 3, 0.0, z + dz * step / 3) for x, z in foot])
        pixels, depth = camera.project(moved)
        if depth.min() > NEAREST_M:
            pen.polygon(
                [tuple(p) for p in pixels.tolist()], fill=int(110 * min(1.0, weather.hour.sun[0] + 0.3))
            )
    picture.paste((16, 16, 22), (0, 0), shadow.filter(ImageFilter.BoxBlur(2)))


def _painting_order(solid: Solid, camera: Camera) -> tuple[bool, float]:
    """Low platforms first (the camera looks down on them), then from far to near."""
    points = np.concatenate([_points(part, camera) for part in solid])
    _, depth = camera.project(points)
    return bool(points[:, 1].max() > camera.position[1]), -float(depth.min())


def _points(part: Face | Round, camera: Camera) -> Vectors:
    if isinstance(part, Face):
        return part.corners
    toward = camera.position - part.foot
    nearest = part.foot + toward / np.linalg.norm(toward) * part.width / 2
    return np.stack([nearest, nearest + np.array((0.0, part.height, 0.0))])


def _draw_solid(picture: Image.Image, solid: Solid, camera: Camera, weather: Weather) -> None:
    for part in solid:
        if isinstance(part, Face):
            _draw_face(picture, part, camera, weather)
        else:
            _draw_round(picture, part, camera, weather)


def _draw_face(picture: Image.Image, face: Face, camera: Camera, weather: Weather) -> None:
    pixels, depth = camera.project(face.corners)
    if depth.min() <= NEAREST_M or not faces_viewer(pixels):
        return
    a, b, d = face.corners[0], face.corners[1], face.corners[3]
    normal = np.cross(b - a, d - a)
    light = weather.on_wall(normal / np.linalg.norm(normal))
    draw_sheet(picture, _tinted(face.sheet.at(weather.night), light, weather, float(depth.mean())), pixels)


def _draw_round(picture: Image.Image, part: Round, camera: Camera, weather: Weather) -> None:
    corners = camera.upright(part.foot, part.width, part.height)
    pixels, depth = camera.project(corners)
    if depth.min() <= NEAREST_M:
        return
    across = (corners[1] - corners[0]) / part.width
    toward = np.array((across[2], 0.0, -across[0]))
    lights = [
        weather.on_wall(across * bend + toward * math.sqrt(1 - bend * bend))
        for bend in np.linspace(-1, 1, 17)
    ]
    curve = np.array(
        [
            np.interp(np.linspace(-1, 1, 256), np.linspace(-1, 1, 17), channel)
            for channel in np.transpose(lights)
        ]
    )
    sheet = part.sheet.at(weather.night)
    shading = Image.merge("RGB", [part.bend] * 3).point([int(min(255.0, 127.5 * v)) for v in curve.ravel()])
    half = ImageChops.multiply(sheet.convert("RGB"), shading).point([min(255, 2 * v) for v in range(256)] * 3)
    half.putalpha(sheet.getchannel("A"))
    draw_sheet(picture, _tinted(half, np.ones(3), weather, float(depth.mean())), pixels)


def _tinted(
    sheet: Image.Image, light: NDArray[np.float64], weather: Weather, distance_m: float
) -> Image.Image:
    """The sheet in this light, and paler through the haze between."""
    veil = 1 - math.exp(-weather.hour.haze * distance_m / 60)
    values = np.arange(256)
    table: list[int] = []
    for factor, haze in zip(light, weather.hour.horizon, strict=True):
        lit = np.minimum(values * factor, 255) * (1 - veil) + haze * veil
        table += lit.astype(int).tolist()
    return sheet.point([*table, *values.tolist()])


def _exposed(rng: Rng, picture: Image.Image, weather: Weather) -> Image.Image:
    """Lens and film: blur, vignette, exposure, contrast, white balance, noise."""
    if chance(rng, 0.2):
        picture = picture.filter(ImageFilter.GaussianBlur(between(rng, 0.3, 1.1)))
    pixels = np.asarray(picture).astype(np.float32) / 255
    height, width = pixels.shape[:2]
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    pixels *= (1 - between(rng, 0.0, 0.22) * (rows**2 + columns**2))[..., None].astype(np.float32)
    pixels *= (rng.normal(1.0, 0.03, 3) * between(rng, 0.88, 1.15)).astype(np.float32)
    pixels = 0.5 + (pixels - 0.5) * np.float32(between(rng, 0.75, 1.2))
    if chance(rng, 0.03):
        pixels = pixels.mean(axis=2, keepdims=True) * np.array((1.06, 0.98, 0.86), np.float32)
    noise = between(rng, 0.0, 0.03) + (0.015 if weather.night else 0.0)
    pixels += rng.normal(0, noise, pixels.shape).astype(np.float32)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))


def _lit(colour: Colour, light: Sequence[float] | NDArray[np.float64]) -> Colour:
    red, green, blue = (min(255, int(c * f)) for c, f in zip(colour, light, strict=True))
    return red, green, blue


def _mixed(colour: Colour, veil: Colour, share: float) -> Colour:
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(colour, veil, strict=True))
    return red, green, blue
