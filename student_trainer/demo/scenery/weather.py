"""Time of day and weather: the colours of the sky and of the light, and how they fall on a wall.

In: a random generator. Out: a sky picture, and brightness factors for walls by their direction.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from student_trainer.demo.scenery.palette import Colour, Rng, between, chance, varied
from student_trainer.demo.scenery.solids import Vectors

CLOUD_PX = 192


@dataclass(frozen=True)
class Hour:
    """A kind of light. ``sun_height`` in degrees; colours of light are factors of red, green and blue."""

    name: str
    weight: float
    zenith: Colour
    horizon: Colour
    ambient: tuple[float, float, float]
    sun: tuple[float, float, float]
    sun_height: tuple[float, float]
    clouds: tuple[float, float]
    cloud: Colour
    haze: float
    night: bool = False


HOURS: tuple[Hour, ...] = (
    Hour("noon", 3.0, (70, 126, 200), (188, 214, 236), (0.56, 0.60, 0.68), (0.62, 0.58, 0.50), (40, 70),
         (0.0, 0.5), (250, 250, 252), 0.10),
    Hour("morning", 2.0, (110, 160, 212), (236, 224, 206), (0.52, 0.56, 0.64), (0.66, 0.56, 0.42), (15, 35),
         (0.0, 0.6), (252, 244, 236), 0.16),
    Hour("gold", 1.2, (96, 128, 182), (250, 206, 140), (0.46, 0.44, 0.48), (0.92, 0.62, 0.30), (6, 16),
         (0.1, 0.7), (255, 222, 178), 0.18),
    Hour("overcast", 2.0, (168, 176, 186), (206, 210, 214), (0.84, 0.86, 0.90), (0.06, 0.06, 0.06), (50, 70),
         (0.6, 1.0), (190, 194, 200), 0.14),
    Hour("fog", 0.4, (196, 200, 204), (214, 216, 216), (0.86, 0.86, 0.88), (0.04, 0.04, 0.04), (50, 70),
         (0.0, 0.2), (214, 216, 216), 0.46),
    Hour("storm", 0.5, (62, 70, 86), (150, 152, 150), (0.52, 0.56, 0.62), (0.40, 0.38, 0.30), (15, 40),
         (0.6, 0.9), (92, 98, 110), 0.12),
    Hour("dusk", 0.4, (38, 52, 108), (226, 132, 98), (0.40, 0.36, 0.50), (0.32, 0.20, 0.16), (2, 6),
         (0.1, 0.6), (150, 96, 118), 0.10, True),
    Hour("night", 0.3, (8, 12, 30), (34, 40, 70), (0.24, 0.24, 0.34), (0.05, 0.05, 0.07), (30, 60),
         (0.0, 0.4), (30, 34, 52), 0.04, True),
)  # fmt: skip


@dataclass(frozen=True)
class Weather:
    """The light of one photograph."""

    hour: Hour
    sun_direction: Vectors
    """Unit vector towards the sun."""
    cloud_cover: float
    floodlight: tuple[float, float, float]
    """By night, the light of lamps at the building's foot."""

    @property
    def night(self) -> bool:
        return self.hour.night

    def on_wall(self, normal: Vectors) -> NDArray[np.float64]:
        """Factors [3] for a wall with this unit normal."""
        facing = max(0.0, float(normal @ self.sun_direction))
        lamps = max(0.0, 1.0 - abs(float(normal[1]))) * np.array(self.floodlight)
        light: NDArray[np.float64] = np.array(self.hour.ambient) + facing * np.array(self.hour.sun) + lamps
        return light

    def on_ground(self) -> NDArray[np.float64]:
        """Factors [3] for level ground."""
        return self.on_wall(np.array((0.0, 1.0, 0.0)))


def draw_weather(rng: Rng) -> Weather:
    """Weather at random; the sun stands before the building's front or to one side of it."""
    weights = np.array([hour.weight for hour in HOURS])
    hour = HOURS[int(rng.choice(len(HOURS), p=weights / weights.sum()))]
    height, heading = math.radians(between(rng, *hour.sun_height)), math.radians(between(rng, -100, 100))
    sun = np.array(
        (math.cos(height) * math.sin(heading), math.sin(height), -math.cos(height) * math.cos(heading))
    )
    warm = between(rng, 0.25, 0.75) if hour.night else 0.0
    return Weather(hour, sun, between(rng, *hour.clouds), (warm, warm * between(rng, 0.7, 0.9), warm * 0.55))


def paint_sky(rng: Rng, weather: Weather, size: tuple[int, int], clouds: NDArray[np.float32]) -> Image.Image:
    """The whole background: gradient, sun or stars, clouds. ``clouds`` is a map from :func:`cloud_map`."""
    width, height = size[0] // 2, size[1] // 2
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** between(rng, 0.8, 1.6)
    zenith, horizon = (
        np.array(varied(rng, c, 0.04), np.float32) for c in (weather.hour.zenith, weather.hour.horizon)
    )
    sky = np.broadcast_to(zenith + (horizon - zenith) * share, (height, width, 3)).copy()
    if weather.hour.name in {"gold", "dusk"}:
        sky += _glow(rng, width, height)
    cover = _cloud_cover(rng, weather.cloud_cover, clouds, (width, height))
    sky += (np.array(weather.hour.cloud, np.float32) - sky) * cover[..., None]
    picture = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    if weather.hour.name == "night":
        _sprinkle_stars(rng, picture)
    return picture


def cloud_map(rng: Rng) -> NDArray[np.float32]:
    """Fractal noise [CLOUD_PX, CLOUD_PX] in [0, 1]."""
    total = np.zeros((CLOUD_PX, CLOUD_PX), np.float32)
    for octave in range(5):
        cells = 4 * 2**octave
        noise = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        total += np.asarray(noise.resize((CLOUD_PX, CLOUD_PX), Image.Resampling.BICUBIC)) / 1.8**octave
    spread: NDArray[np.float32] = (total - total.min()) / (total.max() - total.min())
    return spread


def _cloud_cover(
    rng: Rng, cover: float, clouds: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float32]:
    span = int(rng.integers(CLOUD_PX // 3, CLOUD_PX))
    left, top = (int(v) for v in rng.integers(0, CLOUD_PX - span + 1, 2))
    patch = Image.fromarray(clouds[top : top + max(8, span // 2), left : left + span])
    density = np.asarray(patch.resize(size, Image.Resampling.BILINEAR))
    edge = 0.75 - 0.6 * cover
    opacity = np.clip((density - edge) / 0.25, 0, 1) * (0.9 if cover > 0 else 0.0)
    return opacity.astype(np.float32)


def _glow(rng: Rng, width: int, height: int) -> NDArray[np.float32]:
    """The halo of a low sun."""
    x, y = between(rng, 0, width), height * between(rng, 0.5, 0.9)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot(columns - x, rows - y) / max(width, height)
    halo: NDArray[np.float32] = np.exp(-distance * 5)[..., None] * np.array((90, 60, 20), np.float32)
    return halo


def _sprinkle_stars(rng: Rng, picture: Image.Image) -> None:
    pen = ImageDraw.Draw(picture)
    for x, y, light in zip(*rng.random((3, 60)), strict=True):
        tone = int(90 + 150 * light)
        pen.point((x * picture.width, y * picture.height * 0.8), (tone, tone, min(255, tone + 15)))
    if chance(rng, 0.4):
        x, y = rng.random(2) * np.array(picture.size) * np.array((1.0, 0.4))
        radius = picture.width * 0.022
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), (244, 240, 220))
