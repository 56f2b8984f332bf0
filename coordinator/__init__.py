"""What porch knows and decides: nouns, rules and verbs. Imports nothing of the other packages."""
