"""Differentiable memory operations: pure functions of tensors, without modules and without state.

``addressing`` finds slots by content, ``location`` by where they are, ``allocation`` keeps track of which are free,
``least_used`` of which were hardly used, ``linkage`` of the order in which they were written, ``access`` reads and
writes them. ``writes`` has gates for writing to all slots at once, ``overwrite`` for writing to one alone, ``halting``
decides when to stop thinking. ``selection`` makes weightings of scores, softly, by the best, by chance or over the few
best; ``attention`` finds by queries and keys, ``hopfield`` completes patterns. ``history`` keeps the last rows of an
episode, ``compression`` what leaves them, ``relative`` attends to both by age, ``planning`` makes transitions of them,
``chunks`` looks into a few stretches of them, ``graph`` draws edges between them and gathers. ``scan`` takes all steps
of a linear recurrence together, ``state_space`` has such recurrences out of continuous time, and how fast they forget,
``legendre`` a line of delay, ``linear`` those whose state is a matrix, which fades, is erased and written to, behind a
short ``convolution``. ``draws`` makes random numbers of keys. ``sparse`` reads and writes a few slots of many,
``sparse_linkage`` links them, ``hashing`` finds them, and ``journal`` changes them in place. Letters in shapes: B batch
rows, N slots, W width of a slot, R read heads.
"""
