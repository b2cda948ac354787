"""The ladder: does a job find better rewards than the native one, the fitness alone and an expert's?

python -m bench.design               # or `make bench-design`: hours, and it can be interrupted
python -m bench.design --plan        # what it will cost
python -m bench.design --quick       # two tasks, some minutes; shows that it works, nothing else

ladder.py      the tasks, their steps, and what a job is asked for
experts/       one hand-written program per task
trial.py       short trainings, by which experts were tuned and steps were chosen
house.py       the product's own worker, in this process
work.py        what is to be done, in order; done once, kept in cells
costs.py       the plan's cost
scoring.py     from cells to results
comparisons.py the ablations
page.py        from results to docs/results/design.md
"""
