"""The product: a pure heart (loop, programs, methods, statistics) and a rim of outside things."""
