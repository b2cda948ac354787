"""Gymnasium's MuJoCo tasks as rows: the tables, and the two ways to simulate them."""
