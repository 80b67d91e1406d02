"""Backup, restore and repair: one verified file with all data that cannot be recreated.

``archive`` is the file's format, ``create`` writes it, ``restore`` replaces a home by it, ``ledgers`` and ``files``
check the parts of a backup, ``repair`` handles damage without a backup, ``drafts`` holds unfinished work.
"""
