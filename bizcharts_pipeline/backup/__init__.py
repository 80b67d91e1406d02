"""Backups of a home: one verified file for all that cannot be had again, the way back, and repair of what is damaged.

``sources`` says what belongs to a backup and whether it is whole, ``archive`` is the file's format, ``create`` writes it,
``restore`` puts it in the place of a home, ``repair`` deals with damage where there is no backup to go back to.
"""
