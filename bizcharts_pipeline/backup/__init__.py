"""Backups of a home: one verified file for all that cannot be had again, the way back, and repair of what is damaged.

``archive`` is the file's format, ``create`` writes it, ``restore`` puts it in the place of a home, ``ledgers`` and
``files`` say whether what belongs to a backup is whole, ``repair`` deals with damage without a backup, ``drafts`` holds
unfinished work.
"""
