"""Replay buffer: which of the posts that a model was trained on are shown again when its training is continued.

A model that is trained further on new posts alone may forget old ones. The buffer is a systematic sample of the old
posts, sorted by class, by calendar quarter within a class, and at random within a quarter. So each class, and each
quarter of a class, has its share of the buffer, rounded up or down. Plain samples do about as well as elaborate ones
(Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019).
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class OldPost:
    """A post that the model was trained on, with its class and its time (naive UTC; ``None``: unknown)."""

    thread_id: int
    label: int
    posted_at: datetime | None

    @property
    def quarter(self) -> tuple[int, int]:
        """Year and quarter of an old training post; a quarter of its own for posts of unknown time."""
        return (self.posted_at.year, (self.posted_at.month - 1) // 3) if self.posted_at else (0, 0)


def replay(old: Collection[OldPost], new: int, *, share: float, most: int, seed: int) -> frozenset[int]:
    """Return the threads of the old training posts that are shown again beside ``new`` new ones.

    ``share`` (below 1) is the wanted share of old posts among all; there are at most ``most`` of them. The choice does
    not depend on the order of ``old``.
    """
    wanted = min(len(old), most, round(new * share / (1 - share)))
    ordered = sorted(old, key=lambda post: (post.label, post.quarter, _lot(seed, post.thread_id)))
    return frozenset(ordered[(2 * place + 1) * len(ordered) // (2 * wanted)].thread_id for place in range(wanted))


def _lot(seed: int, thread_id: int) -> bytes:
    return hashlib.sha256(f"replay:{seed}:{thread_id}".encode()).digest()
