"""Who may do what: keys, their scopes and name prefixes, and the gate that every request passes."""
