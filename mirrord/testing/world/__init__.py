"""The world that simulated nodes live in: network, disks, clocks, clients."""
