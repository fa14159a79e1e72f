"""What is there to run a model on: GPUs, cores, memory, disks, as this machine shows them."""
