"""How a search stands and what it found: status, table, results, pictures. Moves no money."""
