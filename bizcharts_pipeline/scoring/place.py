"""Where the scoring models are run."""

from dataclasses import dataclass, field
from pathlib import Path

from bizcharts_pipeline.settings import ImageSettings, Settings, VisionSettings

VISION_BATCH = 100  # posts between two writes: a server answers a few in a second


@dataclass(frozen=True)
class Place:
    """The installation's home, which holds the models, and the server of the vision model.

    ``seconds``: how long one call may go on sending questions to the server; ``None``: without limit.
    """

    home: Path
    vision: VisionSettings = field(default_factory=VisionSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    seconds: float | None = None

    @classmethod
    def of(cls, settings: Settings, seconds: float | None = None) -> "Place":
        """Return where the scoring models of an installation are run."""
        return cls(settings.home_path, settings.vision, settings.images, seconds)
