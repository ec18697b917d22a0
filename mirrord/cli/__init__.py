"""The command line: one verb, one module, imported only when it is used."""
