"""What is measured of reliability: one document, one page, and a part in both for each suite."""
