"""The cluster as one TOML file: read and checked here, drawn, explained and asked about by everybody else."""
