"""What serving a model costs: size, operations, latency, throughput, memory, energy."""
