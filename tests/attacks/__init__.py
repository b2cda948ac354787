"""The 91 attacks, each really carried out.

`core/sandbox/attacks/` holds those on the wall itself (1 to 55), which the start-up self-test shares;
`cases/` holds those on what stands behind it: output, numbers, fitness, text.  Reading order: modes
(as whom), running (how an attack on the wall is carried out and judged), bench (how the others are).
"""
