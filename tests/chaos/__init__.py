"""Everything dies, at any moment, and nothing may be lost: see `README.md` here."""
