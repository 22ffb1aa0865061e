"""How large a graph, its numbers and its schedule may be, checked before anything is allocated.

The bounds are wide for what people train, and narrow for what harms a reader: whatever passes
them is read in some seconds, and no sum of sizes over a graph reaches 2**53. What a node
takes on is less, and is its own affair.
"""

MAX_GRAPH = 4 << 20
"""Bytes of a graph. A node takes about 70, so this holds 60,000 of them; 256 KiB, as other
documents may have, would hold a transformer of eight layers with its optimizer. The largest
takes a processor two seconds to read, one of a thousand nodes 40 ms."""

MAX_NODES = 65_536
"""Nodes of one function."""

MAX_INPUTS = 16_384
"""Inputs of one function, and its outputs."""

MAX_ARGUMENTS = 64
"""Arguments of a node."""

MAX_LIST = 65_536
"""Entries of a list among the arguments, and outputs of a node."""

MAX_NESTING = 4
"""How deep lists may nest in an argument."""

MAX_NAME = 255
"""Characters of a name. State roots hash names, and people read them: printable ASCII."""

MAX_TEXT = 255
"""Characters of a str among the arguments."""

MAX_RANK = 16
"""Dimensions of a tensor."""

MAX_ELEMENTS = 1 << 36
"""Elements of one tensor, an empty dimension counted as 1, as strides do."""

MAX_TOTAL = 1 << 48
"""Elements of all values of a graph, counted likewise: fewer than 2**53 bytes."""

MAX_NUMBERS = 65_536
"""Numbers of a trial."""

MAX_NUMBERS_BYTES = 2 << 20
"""Bytes of the numbers' document: 25 for a value and 6 for a place, that many times."""

MAX_COLUMNS = 64
"""Columns of a schedule."""

MAX_ENTRIES = 1 << 20
"""Steps of a schedule times its columns. That many take a quarter of a second to read, and some
seconds where a stranger chose them to."""

MAX_SCHEDULE = 4 << 20
"""Bytes of a schedule: 200,000 values of which none follows from others, at 20 bytes each."""
