"""The nouns: what the loop thinks with, what tables store, what URLs name.

Records are frozen values without behaviour beyond small derived properties.  The standard library is
all they need.  Three other shapes of the same data live at the doors: HTTP (`api/schemas.py`), SQL
(`core/storage/tables.py`) and the pipe to a jailed child (`core/training/protocol.py`).

Read them in this order: `task`, `spec`, `programs`, `people`, `measured`, `rounds`, `outcome`,
`asking`, `history`; `kinds` has the words that they share.
"""
